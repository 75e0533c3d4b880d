"""Golden values of packages/ppo: advantages, whitening, clipped value loss, explained variance.

No maintained library ships these any more (TRL 1.x has no PPO trainer): the formulas are those of
openai/lm-human-preferences (commit 1ab856d, train_policy.py: loss; utils/core.py: whiten) in torch, every row cut to its real
tokens instead of masked, so that padding cannot enter.
Run: python bench/references/ppo_estimation.py
"""

import json
import pathlib

import torch

SEED = 3
torch.manual_seed(SEED)
BATCH, TIME = 4, 6
lengths = [6, 3, 1, 4]
gamma, lam, clip_range = 0.98, 0.95, 0.2
mask = torch.tensor([[1.0 if t < n else 0.0 for t in range(TIME)] for n in lengths])
rewards = torch.randn(BATCH, TIME).requires_grad_()
old_values = torch.randn(BATCH, TIME).requires_grad_()
values = (old_values.detach() + 0.3 * torch.randn(BATCH, TIME)).requires_grad_()
# The gradients of what has many outputs are those of the sum of its outputs with these weights.
weights = torch.randn(BATCH, TIME)


def padded(rows):
    return torch.stack([torch.cat([row, torch.zeros(TIME - len(row))]) for row in rows])


def real(x):
    return torch.cat([x[b, :n] for b, n in enumerate(lengths)])


def gae(row_rewards, row_values, lam):
    last = torch.tensor(0.0)
    reversed_advantages = []
    for t in reversed(range(len(row_rewards))):
        next_value = row_values[t + 1] if t < len(row_rewards) - 1 else 0.0
        delta = row_rewards[t] + gamma * next_value - row_values[t]
        last = delta + gamma * lam * last
        reversed_advantages.append(last)
    return torch.stack(reversed_advantages[::-1])


def whiten(x, shift_mean):
    mean, var = x.mean(), x.var(unbiased=False)
    whitened = (x - mean) * torch.rsqrt(var + 1e-8)
    return whitened if shift_mean else whitened + mean


def spread(flat):
    out, at = torch.zeros(BATCH, TIME), 0
    for b, n in enumerate(lengths):
        out[b, :n] = flat[at : at + n]
        at += n
    return out


advantages = padded([gae(rewards[b, :n], old_values[b, :n], lam) for b, n in enumerate(lengths)])
returns = padded([advantages[b, :n] + old_values[b, :n] for b, n in enumerate(lengths)])
monte_carlo = padded([gae(rewards[b, :n], old_values[b, :n], 1.0) + old_values[b, :n] for b, n in enumerate(lengths)])

whitened_advantages = spread(whiten(real(advantages), True))
whitened_rewards = spread(whiten(real(rewards), False))


def gradients(output, *inputs):
    return [g.tolist() for g in torch.autograd.grad((output * weights).sum(), inputs, retain_graph=True)]


v, v_old, r = real(values), real(old_values).detach(), real(returns).detach()
clipped = torch.clamp(v, v_old - clip_range, v_old + clip_range)
losses, clipped_losses = (v - r) ** 2, (clipped - r) ** 2
value_loss = 0.5 * torch.max(losses, clipped_losses).mean()
(value_gradient,) = torch.autograd.grad(value_loss, values)

golden = {
    "source": {
        "script": "bench/references/ppo_estimation.py",
        "versions": {"torch": torch.__version__},
        "seed": SEED,
    },
    "gamma": gamma,
    "lambda": lam,
    "clipRange": clip_range,
    "mask": mask.tolist(),
    "rewards": rewards.tolist(),
    "oldValues": old_values.tolist(),
    "values": values.tolist(),
    "advantages": advantages.tolist(),
    "returns": returns.tolist(),
    "monteCarloReturns": monte_carlo.tolist(),
    "weights": weights.tolist(),
    "advantageGradients": gradients(advantages, rewards, old_values),
    "returnGradients": gradients(returns, rewards, old_values),
    "whitenedAdvantages": whitened_advantages.tolist(),
    "whitenedAdvantagesGradient": gradients(whitened_advantages, advantages)[0],
    "whitenedRewards": whitened_rewards.tolist(),
    "whitenedRewardsGradient": gradients(whitened_rewards, rewards)[0],
    "valueLoss": value_loss.item(),
    "valueGradient": value_gradient.tolist(),
    "valueClipFraction": (clipped_losses > losses).float().mean().item(),
    "explainedVariance": (1 - (r - v_old).var(unbiased=False) / r.var(unbiased=False)).item(),
}
path = pathlib.Path(__file__).parents[2] / "packages/ppo/golden/estimation.json"
path.write_text(json.dumps(golden) + "\n")
