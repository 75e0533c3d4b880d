"""Sampling: a loop with a cache of keys and values, eager or compiled, or `transformers.generate`, also with its static cache."""

import torch
from gpt import check, load, some_ids
from turns import autocast, take_turns, task

batch, prompt, new, vocab = task["batch"], task["time"], task["newTokens"], task["model"]["vocabSize"]
model = load(task["checkpoint"], task["model"]).eval()
ids = some_ids(batch, prompt, vocab)
agreement = check(model, ids)


def next_tokens(tokens, cache, position: int):
    logits = model.logits(model(tokens, cache, position)[:, -1])
    return torch.multinomial(torch.softmax(logits, dim=-1), 1)


if task["variant"] == "compiled":
    next_tokens = torch.compile(next_tokens, dynamic=True)


@torch.no_grad()
def loop() -> None:
    cache = model.new_cache(batch, prompt + new)
    tokens = next_tokens(ids, cache, 0)
    response = [tokens]
    for position in range(prompt, prompt + new - 1):
        tokens = next_tokens(tokens, cache, position)
        response.append(tokens)
    torch.cat(response, dim=1)


if task["variant"] in ("transformers", "static"):
    from transformers import GPT2LMHeadModel

    dtype = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
    pretrained = GPT2LMHeadModel.from_pretrained(task["checkpoint"], dtype=dtype).eval().to(task["device"])
    cache = {"cache_implementation": "static"} if task["variant"] == "static" else {}
    mask = torch.ones_like(ids)

    def loop() -> None:
        pretrained.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            min_new_tokens=new,
            max_new_tokens=new,
            eos_token_id=None,
            pad_token_id=0,
            **cache,
        )


def rounds() -> None:
    for _ in range(task["repeats"]):
        with autocast():
            loop()


take_turns(rounds, check=agreement)
