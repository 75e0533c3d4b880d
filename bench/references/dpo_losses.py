"""Golden values of packages/dpo: every loss with its gradients, run through TRL's own loss functions.

DPO, robust DPO and KTO are functions of trl.losses. IPO, cDPO, SimPO and ORPO are computed inside TRL's trainers: methods are
called on a stand-in for the trainer, and IPO's statements, inside a long method, are cut out of its source. cDPO is TRL's
CPO loss (the same sigmoid loss with label smoothing) on log-ratios.
Run: python bench/references/dpo_losses.py
"""

import inspect
import json
import pathlib
import textwrap
import types

import torch
import trl
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.losses.dpo_loss import FusedLinearDPOFunction
from trl.losses.kto_loss import FusedLinearKTOFunction
from trl.trainer import dpo_trainer

SEED = 11
torch.manual_seed(SEED)
PAIRS = 5
BETA, SMOOTHING, KL, GAMMA, LAMBDA = 0.3, 0.1, 0.7, 0.5, 0.2
chosen = (-4 * torch.rand(PAIRS) - 1).requires_grad_()
rejected = (-4 * torch.rand(PAIRS) - 1).requires_grad_()
ref_chosen = chosen.detach() + torch.randn(PAIRS)
ref_rejected = rejected.detach() + torch.randn(PAIRS)
full_target = torch.zeros(2 * PAIRS, 1)  # only its length is read
# ORPO and SimPO read means over tokens, which lie nearer to 0.
mean_chosen = (chosen.detach() / 6).requires_grad_()
mean_rejected = (rejected.detach() / 6).requires_grad_()


def entry(loss, *inputs):
    """A loss, mean over its entries, and the gradients of that mean."""
    value = loss.mean()
    gradients = torch.autograd.grad(value, inputs)
    return {"loss": value.item(), "gradients": [gradient.tolist() for gradient in gradients]}


def dpo(loss_type, **settings):
    result = FusedLinearDPOFunction.preference_loss_fn(
        chosen, rejected, full_target, ref_chosen, ref_rejected, beta=BETA, loss_type=loss_type, **settings
    )
    return entry(result[0] if isinstance(result, tuple) else result, chosen, rejected)


def ipo():
    source = inspect.getsource(dpo_trainer).splitlines()
    first = next(i for i, line in enumerate(source) if line.strip().startswith("chosen_mask, rejected_mask = completion_mask"))
    last = next(i for i, line in enumerate(source) if i > first and "exo_pair" in line)
    scope = {
        "self": types.SimpleNamespace(beta=BETA),
        # The masks only give the lengths; inputs are taken to be sums of unit-length responses, so they are means already.
        "completion_mask": torch.ones(2 * PAIRS, 1),
        "chosen_scores": chosen - ref_chosen,
        "rejected_scores": rejected - ref_rejected,
    }
    exec(textwrap.dedent("\n".join(source[first:last])), scope)
    return entry(scope["per_sequence_loss"], chosen, rejected)


def cpo(loss_type, first, second, smoothing=0.0):
    trainer = types.SimpleNamespace(
        alpha=0.0,
        accelerator=types.SimpleNamespace(device="cpu"),
        loss_type=loss_type,
        simpo_gamma=GAMMA,
        beta=BETA,
        label_smoothing=smoothing,
    )
    return CPOTrainer.cpo_loss(trainer, first, second)[0]


def orpo():
    trainer = types.SimpleNamespace(beta=LAMBDA, accelerator=types.SimpleNamespace(device="cpu"))
    odds = ORPOTrainer.odds_ratio_loss(trainer, mean_chosen, mean_rejected)[0]
    return entry(-mean_chosen - odds, mean_chosen, mean_rejected)  # TRL: policy_nll_loss - losses.mean()


def kto():
    log_probs, ref_log_probs = torch.cat([chosen, rejected]), torch.cat([ref_chosen, ref_rejected])
    desirable = torch.tensor([True] * PAIRS + [False] * PAIRS)
    loss = FusedLinearKTOFunction.preference_loss_fn(
        log_probs, desirable, full_target, ref_log_probs, beta=BETA, kl=torch.tensor(KL)
    )[0]
    return entry(loss, chosen, rejected)


golden = {
    "source": {
        "script": "bench/references/dpo_losses.py",
        "versions": {"torch": torch.__version__, "trl": trl.__version__},
        "seed": SEED,
    },
    "beta": BETA,
    "labelSmoothing": SMOOTHING,
    "kl": KL,
    "gamma": GAMMA,
    "lambda": LAMBDA,
    "chosen": chosen.tolist(),
    "rejected": rejected.tolist(),
    "refChosen": ref_chosen.tolist(),
    "refRejected": ref_rejected.tolist(),
    "meanChosen": mean_chosen.tolist(),
    "meanRejected": mean_rejected.tolist(),
    "dpo": dpo("sigmoid"),
    "conservativeDpo": entry(cpo("sigmoid", chosen - ref_chosen, rejected - ref_rejected, SMOOTHING), chosen, rejected),
    "robustDpo": dpo("robust", label_smoothing=SMOOTHING),
    "ipo": ipo(),
    "simpo": entry(cpo("simpo", mean_chosen, mean_rejected), mean_chosen, mean_rejected),
    "orpo": orpo(),
    "kto": kto(),
}
path = pathlib.Path(__file__).parents[2] / "packages/dpo/golden/losses.json"
path.write_text(json.dumps(golden) + "\n")
