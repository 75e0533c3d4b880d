"""PPO iterations with PyTorch and transformers: rollout, scores, reference, advantages, one epoch of updates.

The same work as `ppo.step` of @rlhf/ppo: log-probabilities of the rollout from the training forward pass, a reward
model and a value network of the policy's size, an average of the policy's weights.
"""

import copy

import torch
from gpt import check, load, some_ids
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2LMHeadModel
from turns import autocast, take_turns, task

batch, prompt, new, vocab = task["batch"], task["time"], task["newTokens"], task["model"]["vocabSize"]
minibatch, kl_coefficient, gamma, lam, clip = task["minibatch"], 0.02, 1.0, 0.95, 0.2
prompts = some_ids(batch, prompt, vocab)
agreement = check(load(task["checkpoint"], task["model"]), prompts)


class ScalarModel(nn.Module):
    """One number per token, like GPT2ForTokenClassification with one label."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(task["model"]["width"], 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.backbone(ids, use_cache=False).last_hidden_state).squeeze(-1)


policy = GPT2LMHeadModel.from_pretrained(task["checkpoint"], dtype=torch.float32).eval().to(task["device"])
reference, average = copy.deepcopy(policy), copy.deepcopy(policy)
reward_model = ScalarModel(copy.deepcopy(policy.transformer))
critic = copy.deepcopy(reward_model)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0, fused=True)


policy_optimizer, critic_optimizer = optimizer_of(policy), optimizer_of(critic)


def log_probs(model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """log π and entropy of the response tokens; only their logits are computed."""
    logits = model(ids[:, :-1], use_cache=False, logits_to_keep=new).logits.float()
    log_softmax = F.log_softmax(logits, dim=-1)
    with torch.no_grad():
        entropy = -(log_softmax.exp() * log_softmax).sum(-1)
    return log_softmax.gather(-1, ids[:, prompt:, None]).squeeze(-1), entropy


def values_of(model: nn.Module, ids: Tensor) -> Tensor:
    """V before each response token."""
    return model(ids[:, :-1])[:, prompt - 1 :].float()


if task["variant"] == "compiled":
    log_probs, values_of = torch.compile(log_probs), torch.compile(values_of)


def in_parts(function, model: nn.Module, ids: Tensor) -> Tensor:
    results = [function(model, part) for part in ids.split(minibatch)]
    return torch.cat([result[0] if isinstance(result, tuple) else result for result in results])


def whiten(x: Tensor) -> Tensor:
    return (x - x.mean()) * torch.rsqrt(x.var(unbiased=False) + 1e-8)


def gae(rewards: Tensor, values: Tensor) -> Tensor:
    advantages, running = torch.empty_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(new)):
        following = values[:, t + 1] if t + 1 < new else 0
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        advantages[:, t] = running
    return advantages


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()


@torch.no_grad()
def collect() -> tuple[Tensor, ...]:
    ids = policy.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=True,
        top_k=0,
        min_new_tokens=new,
        max_new_tokens=new,
        eos_token_id=None,
        pad_token_id=0,
    )
    old = in_parts(log_probs, policy, ids)
    rewards = -kl_coefficient * (old - in_parts(log_probs, reference, ids))
    scores = torch.cat([reward_model(part)[:, -1].float() for part in ids.split(minibatch)])
    rewards[:, -1] += scores - 1  # no response ends: the penalty for that
    values = in_parts(values_of, critic, ids)
    advantages = gae(rewards, values)
    return ids, old, values, whiten(advantages), advantages + values


@autocast()
def iteration() -> None:
    ids, old, old_values, advantages, returns = collect()
    for members in torch.randperm(batch).split(minibatch):
        now, _ = log_probs(policy, ids[members])
        ratio, advantage = torch.exp(now - old[members]), advantages[members]
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
        descend(policy, policy_optimizer, -surrogate.mean())
        before, target = old_values[members], returns[members]
        values = values_of(critic, ids[members])
        moved = before + (values - before).clamp(-clip, clip)
        value_loss = torch.maximum((values - target) ** 2, (moved - target) ** 2).mean() / 2
        descend(critic, critic_optimizer, value_loss)
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(policy.parameters()), 1 - 0.992)


take_turns(iteration, check=agreement)
