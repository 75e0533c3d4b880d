"""The other half of bench/speed/turns.ts: says when it is warm, then does one round for every line it is sent."""

import json
import sys
import time

import torch

task = json.loads(sys.argv[1])
torch.set_num_threads(task["threads"])
device = task["device"]
torch.set_default_device(device)
if task["precision"] != "fp32":
    torch.set_float32_matmul_precision("high")


def autocast():
    """bfloat16 where it is asked for; the weights stay float32."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=task["precision"] == "bf16")


def _memory(name: str) -> int | None:
    """A line of Linux's own account of this process, in bytes."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))
    except OSError:
        return None



def _load_lazy_parts() -> None:
    """PyTorch loads half of itself at the first training step, which is not the model's memory."""
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(8, 8)).sum().backward()
    optimizer.step()


_load_lazy_parts()
_before = _memory("VmRSS")


def _forget_peak() -> None:
    """Peaks count from here (Linux)."""
    if _before is not None:
        with open("/proc/self/clear_refs", "w") as references:
            references.write("5")


def take_turns(one_round, **facts) -> None:
    """Runs `one_round` for every line of input. What it returns, if anything, is reported with its time."""
    for _ in range(task["warmups"]):
        one_round()
    _forget_peak()
    print(json.dumps({"name": f"PyTorch {torch.__version__}", **facts}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        parts = one_round()
        if device == "cuda":
            torch.cuda.synchronize()
        answer = {"seconds": time.perf_counter() - start, "parts": parts or {}}
        if _before is not None:
            answer["peakBytes"] = _memory("VmHWM") - _before
        print(json.dumps(answer), flush=True)
