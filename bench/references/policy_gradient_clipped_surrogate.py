"""Golden values of packages/policy-gradient: the clipped surrogate, run through TRL's own loss function.

TRL's loss takes one advantage a row; every token is therefore given to it as a row of its own, with loss type "bnpo"
(sum over tokens / number of tokens), no KL term. approxKl and ratio follow openai/lm-human-preferences.
Run: python bench/references/policy_gradient_clipped_surrogate.py
"""

import json
import pathlib

import torch
import trl
from trl.losses.grpo_loss import FusedLinearGRPOFunction

SEED = 2
torch.manual_seed(SEED)
BATCH, TIME = 4, 6
lengths = [6, 3, 1, 4]
mask = torch.tensor([[1.0 if t < n else 0.0 for t in range(TIME)] for n in lengths])
old_log_probs = -3 * torch.rand(BATCH, TIME)
log_probs = (old_log_probs + 0.3 * torch.randn(BATCH, TIME)).requires_grad_()
advantages = torch.randn(BATCH, TIME)
clip_range = 0.2


def rows(x):
    return x.reshape(-1, 1)


loss, (clip_fraction,) = FusedLinearGRPOFunction.ppo_loss_fn(
    per_token_logps=rows(log_probs),
    attention_mask=rows(mask),
    advantages=advantages.reshape(-1),
    full_attention_mask=rows(mask),
    old_per_token_logps=rows(old_log_probs),
    epsilon_low=clip_range,
    epsilon_high=clip_range,
    beta=0.0,
    loss_type="bnpo",
)
(gradient,) = torch.autograd.grad(loss, log_probs)
with torch.no_grad():
    log_ratio = (log_probs - old_log_probs) * mask
    ratio = log_ratio.exp()
    approx_kl = 0.5 * (log_ratio**2).sum() / mask.sum()

golden = {
    "source": {
        "script": "bench/references/policy_gradient_clipped_surrogate.py",
        "versions": {"torch": torch.__version__, "trl": trl.__version__},
        "seed": SEED,
    },
    "logProbs": log_probs.tolist(),
    "oldLogProbs": old_log_probs.tolist(),
    "advantages": advantages.tolist(),
    "mask": mask.tolist(),
    "clipRange": clip_range,
    "loss": loss.item(),
    "gradient": gradient.tolist(),
    "clipFraction": clip_fraction.item(),
    "approxKl": approx_kl.item(),
    "ratio": ratio.tolist(),
}
path = pathlib.Path(__file__).parents[2] / "packages/policy-gradient/golden/clipped_surrogate.json"
path.write_text(json.dumps(golden) + "\n")
