"""Golden values of packages/eval: length-controlled fit, frontier fits, Wilson's interval, quantiles, KL of best-of-n.

The logistic regression is torch's LBFGS on the loss with torch's own cross-entropy; the frontier is numpy's least squares;
Wilson's ends are the roots of the score equation; the KL of best-of-n is its integral, by the trapezoid rule.
Run from the repository's root: python bench/references/eval_statistics.py
Writes packages/eval/golden/statistics.json.
"""

import json
import pathlib

import numpy as np
import torch

SEED = 5
rng = np.random.default_rng(SEED)
torch.set_default_dtype(torch.float64)


def length_fit(preferences, differences):
    targets = torch.tensor(preferences)
    deltas = torch.tensor(differences)
    features = torch.tanh(deltas / deltas.std())
    weights = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        logits = weights[0] + weights[1] * features
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        loss = loss + weights[1] ** 2 / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    return {
        "preferences": preferences,
        "differences": differences,
        "intercept": weights[0].item(),
        "slope": weights[1].item(),
        "rate": torch.sigmoid(weights[0]).item(),
    }


def frontier_fit(form, kl, reward):
    d = np.sqrt(kl)
    decay = d**2 if form == "bestOfN" else d * np.log(d)
    basis = np.stack([d, -decay], axis=1)
    (alpha, beta), residual, _, _ = np.linalg.lstsq(basis, reward, rcond=None)
    return {
        "form": form,
        "kl": kl.tolist(),
        "reward": reward.tolist(),
        "alpha": alpha,
        "beta": beta,
        "rSquared": 1 - residual[0] / ((reward - reward.mean()) ** 2).sum(),
    }


def wilson(successes, count):
    z = (torch.erfinv(torch.tensor(0.95)) * 2**0.5).item()
    share = successes / count
    ends = np.roots([1 + z * z / count, -2 * share - z * z / count, share * share])
    low, high = sorted(np.real(ends))
    return {"successes": successes, "count": count, "low": max(0.0, low), "high": min(1.0, high)}


def best_of_n(n):
    u = np.linspace(0, 1, 2_000_001)[1:]
    density = n * u ** (n - 1)
    terms = np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0)
    return {"n": n, "kl": float(np.trapezoid(terms, u))}


differences = np.round(rng.normal(20, 60, 40)).tolist()
longer_wins = [1.0 if d > 0 else 0.0 for d in differences]
noisy = [float(rng.choice([0, 0.25, 0.5, 0.75, 1], p=[0.2, 0.1, 0.1, 0.1, 0.5])) for _ in differences]
kl = np.sort(rng.uniform(0.1, 30, 25))
d = np.sqrt(kl)
sample = rng.normal(size=37)

golden = {
    "source": {
        "script": "bench/references/eval_statistics.py",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "seed": SEED,
    },
    "lengthFits": [length_fit(noisy, differences), length_fit(longer_wins, differences)],
    "frontierFits": [
        frontier_fit("reinforcement", kl, d * (1.1 - 0.45 * np.log(d)) + 0.05 * rng.normal(size=25)),
        frontier_fit("bestOfN", kl, d * (0.9 - 0.12 * d) + 0.05 * rng.normal(size=25)),
    ],
    "wilson": [wilson(0, 12), wilson(3, 17), wilson(371, 512), wilson(9, 9)],
    "quantiles": {
        "values": sample.tolist(),
        "shares": [0, 0.025, 0.31, 0.5, 0.975, 1],
        "expected": np.quantile(sample, [0, 0.025, 0.31, 0.5, 0.975, 1]).tolist(),
    },
    "bestOfN": [best_of_n(n) for n in (1, 2, 4, 16)],
}
path = pathlib.Path("packages/eval/golden/statistics.json")
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(golden, indent=1) + "\n")
