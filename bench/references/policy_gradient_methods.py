"""Golden values of packages/policy-gradient: advantages and losses of RLOO and GRPO with its variants, run through TRL.

Losses are TRL's own loss function. Its trainers compute the advantages inside a long method, so the statements in
question are cut out of their source and executed as they stand. RLOO's loss is TRL's with every sequence as one action.
Run: python bench/references/policy_gradient_methods.py
"""

import inspect
import json
import pathlib
import textwrap
import types

import torch
import trl
from trl.losses.grpo_loss import FusedLinearGRPOFunction
from trl.trainer import grpo_trainer, rloo_trainer

SEED = 7
torch.manual_seed(SEED)
GROUPS, GROUP_SIZE, TIME, MAX_LENGTH = 2, 3, 5, 8
BATCH = GROUPS * GROUP_SIZE
lengths = [5, 3, 1, 4, 2, 5]
mask = torch.tensor([[1.0 if t < n else 0.0 for t in range(TIME)] for n in lengths])
old_log_probs = -3 * torch.rand(BATCH, TIME)
ref_log_probs = old_log_probs + 0.4 * torch.randn(BATCH, TIME)
log_probs = (old_log_probs + 0.3 * torch.randn(BATCH, TIME)).requires_grad_()
rewards = torch.randn(BATCH).requires_grad_()
# The gradients of advantages are those of their sum with these weights.
weights = torch.randn(BATCH)
CLIP_RANGE, KL_COEFFICIENT = 0.2, 0.04


def excerpt(module, start, end):
    """The statements between two lines of a module's source."""
    lines = inspect.getsource(module).splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(start))
    last = next(i for i, line in enumerate(lines) if i > first and line.strip().startswith(end))
    return textwrap.dedent("\n".join(lines[first:last]))


def advantages_of(module, source, **settings):
    scope = {
        **vars(module),
        "self": types.SimpleNamespace(**settings),
        "rewards": rewards,
        "grouped_rewards": rewards.view(-1, GROUP_SIZE),
        "num_generations": GROUP_SIZE,
        "device": "cpu",
    }
    exec(source, scope)
    return scope["advantages"]


rloo_source = excerpt(rloo_trainer, "scorable_counts =", "# Normalize advantages")
grpo_source = excerpt(grpo_trainer, "mean_grouped_rewards = torch.nanmean(rewards", "is_std_zero =")
advantages = {
    "leaveOneOut": advantages_of(rloo_trainer, rloo_source),
    "deviation": advantages_of(grpo_trainer, grpo_source, scale_rewards="group"),
    "none": advantages_of(grpo_trainer, grpo_source, scale_rewards="none"),
}

advantage_gradients = {
    name: torch.autograd.grad((values * weights).sum(), rewards)[0].tolist() for name, values in advantages.items()
}
advantages = {name: values.detach() for name, values in advantages.items()}


def loss_and_gradient(**settings):
    loss, metrics = FusedLinearGRPOFunction.ppo_loss_fn(
        epsilon_low=CLIP_RANGE, epsilon_high=CLIP_RANGE, max_completion_length=MAX_LENGTH, **settings
    )
    (gradient,) = torch.autograd.grad(loss, log_probs)
    return {"loss": loss.item(), "gradient": gradient.tolist(), "metrics": [m.item() for m in metrics]}


grpo = {
    name: loss_and_gradient(
        per_token_logps=log_probs,
        attention_mask=mask,
        full_attention_mask=mask,
        advantages=advantages["deviation"],
        ref_per_token_logps=ref_log_probs,
        old_per_token_logps=old_log_probs,
        beta=KL_COEFFICIENT,
        loss_type=loss_type,
    )
    for name, loss_type in {"sequence": "grpo", "token": "bnpo", "constant": "dr_grpo"}.items()
}
whole = torch.ones(BATCH, 1)
rloo = loss_and_gradient(
    per_token_logps=(log_probs * mask).sum(1, keepdim=True),
    attention_mask=whole,
    full_attention_mask=whole,
    advantages=advantages["leaveOneOut"],
    old_per_token_logps=(old_log_probs * mask).sum(1, keepdim=True),
    beta=0.0,
    loss_type="bnpo",
)
# On-policy: TRL detaches the log-probabilities itself, which leaves REINFORCE's gradient.
reinforce = loss_and_gradient(
    per_token_logps=(log_probs * mask).sum(1, keepdim=True),
    attention_mask=whole,
    full_attention_mask=whole,
    advantages=advantages["leaveOneOut"],
    beta=0.0,
    loss_type="bnpo",
)
reinforce["loss"] = -(advantages["leaveOneOut"] * (log_probs * mask).sum(1)).mean().item()

golden = {
    "source": {
        "script": "bench/references/policy_gradient_methods.py",
        "versions": {"torch": torch.__version__, "trl": trl.__version__},
        "seed": SEED,
    },
    "groupSize": GROUP_SIZE,
    "maxLength": MAX_LENGTH,
    "clipRange": CLIP_RANGE,
    "klCoefficient": KL_COEFFICIENT,
    "rewards": rewards.tolist(),
    "mask": mask.tolist(),
    "logProbs": log_probs.tolist(),
    "oldLogProbs": old_log_probs.tolist(),
    "refLogProbs": ref_log_probs.tolist(),
    "advantages": {name: values.tolist() for name, values in advantages.items()},
    "weights": weights.tolist(),
    "advantageGradients": advantage_gradients,
    "grpo": grpo,
    "rloo": rloo,
    "reinforce": reinforce,
}
path = pathlib.Path(__file__).parents[2] / "packages/policy-gradient/golden/methods.json"
path.write_text(json.dumps(golden) + "\n")
