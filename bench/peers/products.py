"""Matrix products, each several times in a row into memory of its own."""

import time

import torch
from turns import take_turns, task

operands = []
for m, n, k in task["shapes"]:
    for form in task["forms"]:
        a = torch.rand((k, m)).t() if form[0] == "T" else torch.rand((m, k))
        b = torch.rand((n, k)).t() if form[1] == "T" else torch.rand((k, n))
        repeats = max(1, round(task["flops"] / (2 * m * n * k)))
        operands.append((f"{m}×{n}×{k} {form}", a, b, torch.empty((m, n)), repeats))


def products() -> dict[str, float]:
    """Seconds of one product of each kind."""
    seconds = {}
    for name, a, b, out, repeats in operands:
        start = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b, out=out)
        seconds[name] = (time.perf_counter() - start) / repeats
    return seconds


take_turns(products)
