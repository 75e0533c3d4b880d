"""Golden values of packages/optim: fifty steps of torch's AdamW with clipping, schedules and an average of the weights.

Run from the repository's root: python bench/references/optim_adamw.py
Writes packages/optim/golden/adamw.json.
"""
import json
import pathlib

import torch
import transformers
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

seed, steps, warmup, peak, floor = 3, 50, 5, 0.05, 0.1
torch.manual_seed(seed)
torch.set_default_dtype(torch.float64)


def rates_of(optimizer, scheduler):
    """The rates of all steps."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedule(make_decay):
    """A warm-up and what follows it, as torch's schedulers give them."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    warm = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return rates_of(optimizer, SequentialLR(optimizer, [warm, make_decay(optimizer)], milestones=[warmup]))


cosine = schedule(lambda o: CosineAnnealingLR(o, T_max=steps - 1 - warmup, eta_min=floor * peak))
linear = schedule(lambda o: LinearLR(o, start_factor=1, end_factor=floor, total_iters=steps - 1 - warmup))
# InstructGPT's PPO starts at a tenth; transformers' schedule starts at 0.
constants = {}
for start in (0.1, 0.0):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    constants[str(start)] = rates_of(
        optimizer,
        LinearLR(optimizer, start_factor=start, total_iters=warmup) if start > 0
        else transformers.get_constant_schedule_with_warmup(optimizer, warmup),
    )

x, y = torch.randn(6, 4).float().double(), torch.randn(6, 3).float().double()
layer = torch.nn.Linear(4, 3)
with torch.no_grad():
    layer.weight.copy_(torch.randn(3, 4).float())
    layer.bias.copy_(torch.randn(3).float())
initial = {"weight": layer.weight.detach().T.flatten().tolist(), "bias": layer.bias.tolist()}
optimizer = torch.optim.AdamW(
    [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias], "weight_decay": 0.0}],
    lr=peak, betas=(0.9, 0.95), eps=1e-8,
)
average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9))
average.update_parameters(layer)  # the first call copies
losses, norms = [], []
for step in range(steps):
    optimizer.zero_grad()
    loss = ((layer(x) - y) ** 2).mean()
    loss.backward()
    norms.append(torch.nn.utils.clip_grad_norm_(layer.parameters(), max_norm=0.3).item())
    for group in optimizer.param_groups:
        group["lr"] = cosine[step]
    optimizer.step()
    average.update_parameters(layer)
    losses.append(loss.item())


def parameters(module):
    return {"weight": module.weight.detach().T.flatten().tolist(), "bias": module.bias.tolist()}


pathlib.Path("packages/optim/golden/adamw.json").write_text(json.dumps({
    "source": {
        "script": "bench/references/optim_adamw.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": seed,
    },
    "steps": steps, "warmup": warmup, "peak": peak, "floorShare": floor, "cosine": cosine, "linear": linear,
    "constants": constants,
    "x": x.flatten().tolist(), "y": y.flatten().tolist(), "weightDecay": 0.1, "maxGradNorm": 0.3, "decay": 0.9,
    "initial": initial, "losses": losses, "gradNorms": norms, "final": parameters(layer), "average": parameters(average.module),
}))
