"""Golden values for @rlhf/reward: values and gradients of the pairwise and the K-wise ranking loss.

Pairwise: TRL's RewardTrainer.compute_loss, run on given scores. K-wise: InstructGPT equation 1 with PyTorch's
autograd; PyTorch has no such loss, so the sum over pairs is spelled out with itertools.combinations.

    python bench/references/reward_losses.py packages/reward/golden/losses.json
"""

import itertools
import json
import sys
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from torch.nn.functional import logsigmoid
from trl import RewardTrainer

SEED = 7


def rounded(values):
    return [float(f"{v:.9g}") for v in values]


def pairwise(chosen, rejected, margin=None):
    scores = torch.tensor(chosen + rejected, dtype=torch.float64, requires_grad=True)
    inputs = {"attention_mask": torch.ones(len(scores), 1, dtype=torch.long)}
    if margin is not None:
        inputs["margin"] = torch.tensor(margin, dtype=torch.float64)
    stand_in = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=None),
        accelerator=SimpleNamespace(gather=lambda t: t, gather_for_metrics=lambda t: t),
        _total_train_tokens=0,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    loss = RewardTrainer.compute_loss(stand_in, lambda **_: SimpleNamespace(logits=scores), inputs)
    loss.backward()
    n = len(chosen)
    return {
        "chosen": chosen,
        "rejected": rejected,
        "margin": margin,
        "loss": rounded([loss.item()])[0],
        "chosenGradient": rounded(scores.grad[:n].tolist()),
        "rejectedGradient": rounded(scores.grad[n:].tolist()),
    }


def ranking(prompts):
    scores = [torch.tensor(p["scores"], dtype=torch.float64, requires_grad=True) for p in prompts]
    losses = []
    for score, prompt in zip(scores, prompts):
        terms = []
        for i, j in itertools.combinations(range(len(score)), 2):
            if prompt["ranks"][i] == prompt["ranks"][j]:
                continue
            winner, loser = (i, j) if prompt["ranks"][i] < prompt["ranks"][j] else (j, i)
            terms.append(logsigmoid(score[winner] - score[loser]))
        if terms:
            losses.append(-torch.stack(terms).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    gradient = [g for s in scores for g in (s.grad.tolist() if s.grad is not None else [0.0] * len(s))]
    return {"prompts": prompts, "loss": rounded([loss.item()])[0], "gradient": rounded(gradient)}


def main():
    torch.manual_seed(SEED)
    draw = lambda n, scale=1.0: rounded((torch.randn(n, dtype=torch.float64) * scale).tolist())
    golden = {
        "source": {
            "script": "bench/references/reward_losses.py",
            "versions": {"torch": torch.__version__, "trl": trl.__version__},
            "seed": SEED,
        },
        "pairwise": [
            pairwise(draw(6), draw(6)),
            pairwise(draw(4), draw(4), margin=[0.0, 0.5, 1.0, 3.0]),
            pairwise([60.0, -60.0, 0.0], [-60.0, 60.0, 0.0]),
        ],
        "ranking": [
            ranking([{"scores": draw(4), "ranks": [2, 1, 4, 3]}]),
            ranking(
                [
                    {"scores": draw(4, 2.0), "ranks": [1, 2, 2, 3]},
                    {"scores": draw(9), "ranks": [5, 1, 3, 2, 9, 8, 7, 4, 6]},
                    {"scores": draw(2), "ranks": [2, 1]},
                    {"scores": draw(3), "ranks": [1, 1, 1]},
                ]
            ),
        ],
    }
    with open(sys.argv[1], "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


main()
