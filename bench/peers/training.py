"""Training steps of a GPT-2: fused AdamW, eager or compiled."""

import torch
from gpt import check, load, some_ids
from turns import autocast, take_turns, task

model = load(task["checkpoint"], task["model"])
ids = some_ids(task["batch"], task["time"], task["model"]["vocabSize"])
agreement = check(model, ids)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0, fused=True)
loss_of = torch.compile(model.loss) if task["variant"] == "compiled" else model.loss


def step() -> float:
    with autocast():
        loss = loss_of(ids)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def steps() -> None:
    for _ in range(task["repeats"]):
        step()


take_turns(steps, check=agreement)
