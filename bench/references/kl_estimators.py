"""Golden values of packages/kl: KL estimators, penalised rewards, adaptive controller.

k3 is TRL's own function. k1, k2 and their gradients are torch; rewards and controller follow openai/lm-human-preferences
(commit 1ab856d, train_policy.py: compute_rewards, AdaptiveKLController) with TRL's padding mask.
Run: python bench/references/kl_estimators.py
"""

import json
import pathlib

import numpy as np
import torch
import trl
from trl.losses.grpo_loss import k3_loss_fn

SEED = 1
torch.manual_seed(SEED)
BATCH, TIME = 4, 6
lengths = [6, 3, 1, 4]
mask = torch.tensor([[1.0 if t < n else 0.0 for t in range(TIME)] for n in lengths])
log_probs = (-3 * torch.rand(BATCH, TIME)).requires_grad_()
ref_log_probs = -3 * torch.rand(BATCH, TIME)
weights = torch.randn(BATCH, TIME)
scores = torch.randn(BATCH)
kl_coefficient = 0.07


def estimator(values):
    (gradient,) = torch.autograd.grad((values * weights).sum(), log_probs)
    return {"values": values.tolist(), "gradient": gradient.tolist()}


def compute_rewards():
    kl = log_probs - ref_log_probs
    rewards = (-kl_coefficient * kl).masked_fill(mask == 0, 0)
    last = mask.sum(1).long() - 1
    rewards[torch.arange(BATCH), last] += scores
    return rewards


class AdaptiveKLController:
    def __init__(self, value, target, horizon):
        self.value, self.target, self.horizon = value, target, horizon

    def update(self, current, n_steps):
        proportional_error = np.clip(current / self.target - 1, -0.2, 0.2)
        self.value *= 1 + proportional_error * n_steps / self.horizon


controller = AdaptiveKLController(0.15, 6.0, 10_000)
updates = []
for kl in [0.0, -1.5, 5.0, 6.0, 6.5, 30.0]:
    controller.update(kl, 512)
    updates.append({"kl": kl, "episodes": 512, "coefficient": controller.value})

golden = {
    "source": {
        "script": "bench/references/kl_estimators.py",
        "versions": {"torch": torch.__version__, "trl": trl.__version__, "numpy": np.__version__},
        "seed": SEED,
    },
    "logProbs": log_probs.tolist(),
    "refLogProbs": ref_log_probs.tolist(),
    "mask": mask.tolist(),
    "weights": weights.tolist(),
    "scores": scores.tolist(),
    "klCoefficient": kl_coefficient,
    "k1": estimator(log_probs - ref_log_probs),
    "k2": estimator(0.5 * (log_probs - ref_log_probs) ** 2),
    "k3": estimator(k3_loss_fn(ref_log_probs, log_probs)),
    "rewards": estimator(compute_rewards()),
    "controller": updates,
}
path = pathlib.Path(__file__).parents[2] / "packages/kl/golden/kl.json"
path.write_text(json.dumps(golden) + "\n")
