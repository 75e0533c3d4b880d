"""Matrix products, each several times in a row into memory of its own."""

import time

import torch
from turns import device, take_turns, task

dtype = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
operands = []
for m, n, k in task["shapes"]:
    for form in task["forms"]:
        a = torch.rand((k, m), dtype=dtype).t() if form[0] == "T" else torch.rand((m, k), dtype=dtype)
        b = torch.rand((n, k), dtype=dtype).t() if form[1] == "T" else torch.rand((k, n), dtype=dtype)
        repeats = max(1, round(task["flops"] / (2 * m * n * k)))
        operands.append((f"{m}×{n}×{k} {form}", a, b, torch.empty((m, n), dtype=dtype), repeats))


def products() -> dict[str, float]:
    """Seconds of one product of each kind."""
    seconds = {}
    for name, a, b, out, repeats in operands:
        start = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds[name] = (time.perf_counter() - start) / repeats
    return seconds


take_turns(products)
