"""Golden values of packages/transformer: a tiny randomly initialised GPT-2 of Hugging Face transformers, in float64.

Run from the repository's root: python bench/references/transformer_gpt2.py
Writes packages/transformer/golden/gpt2/ and gpt2_scalar/ (checkpoints), gpt2.json and gpt2_gradients.safetensors.
"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

seed = 7
golden = pathlib.Path("packages/transformer/golden")
pad = 0
torch.manual_seed(seed)
shape = dict(vocab_size=13, n_positions=12, n_embd=8, n_layer=2, n_head=2)
config = transformers.GPT2Config(
    **shape, pad_token_id=pad, eos_token_id=1, bos_token_id=None, num_labels=1, attn_implementation="eager",
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
)
model = transformers.GPT2LMHeadModel(config).eval()
scalar = transformers.GPT2ForSequenceClassification(config).eval()
with torch.no_grad():
    # Far from GPT-2's near-zero initialisation, so that every term shows in the results.
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        gain = "ln_" in name and name.endswith("weight")
        parameter.copy_(1 + 0.3 * noise if gain else 0.5 * noise)
    scalar.transformer.load_state_dict(model.transformer.state_dict())
    scalar.score.weight.copy_(torch.randn_like(scalar.score.weight))
model.save_pretrained(golden / "gpt2")
scalar.save_pretrained(golden / "gpt2_scalar")
(golden / "gpt2" / "generation_config.json").unlink(missing_ok=True)
model.double(), scalar.double()

time, lengths = 8, [8, 5, 3]
rows = [torch.randint(2, 13, (length,)).tolist() for length in lengths]


def padded(side):
    ids = torch.full((len(rows), time), pad)
    mask = torch.zeros(len(rows), time, dtype=torch.long)
    positions = torch.zeros(len(rows), time, dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(0, len(row)) if side == "right" else slice(time - len(row), time)
        ids[i, at], mask[i, at], positions[i, at] = torch.tensor(row), 1, torch.arange(len(row))
    return ids, mask, positions


def next_token_log_probs(logits, ids):
    return logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]


def rounded(x):
    return [float(f"{v:.9g}") for v in x.flatten().tolist()]


def case(side):
    ids, mask, positions = padded(side)
    output = model(ids, attention_mask=mask, position_ids=positions, output_hidden_states=True)
    logits = output.logits
    counts = (mask[:, :-1] * mask[:, 1:]).double()
    loss = -(next_token_log_probs(logits, ids) * counts).sum() / counts.sum()
    # A mask of four dimensions is used as it is: without its causal part the same blocks see the whole sequence.
    visible = (mask[:, None, None, :] * mask[:, None, :, None]).bool() | torch.eye(time).bool()
    hidden = torch.zeros(1).double().masked_fill(torch.ones(1).bool(), torch.finfo(torch.float64).min)
    bias = torch.where(visible, torch.zeros(1).double(), hidden)
    return loss, {
        "ids": ids.flatten().tolist(), "segments": mask.flatten().tolist(), "positions": positions.flatten().tolist(),
        "logits": rounded(logits * mask[..., None]),
        "hidden": rounded(output.hidden_states[-1] * mask[..., None]),
        # As if the model ended there: the final norm behind the states of every earlier layer.
        "layers": [rounded(model.transformer.ln_f(x) * mask[..., None]) for x in output.hidden_states[:-1]],
        "maskedLogits": rounded(model(ids, attention_mask=bias, position_ids=positions).logits * mask[..., None]),
        "scores": rounded(scalar(ids, attention_mask=mask, position_ids=positions).logits),
        "loss": loss.item(),
    }


def cached_logits(row):
    """The logits of one sequence, read in three pieces with a key-value cache."""
    cache, found, done = transformers.DynamicCache(config=config), [], 0
    for size in (3, 1, len(row) - 4):
        found.append(model(torch.tensor([row[done:done + size]]), past_key_values=cache, use_cache=True).logits)
        done += size
    return torch.cat(found, 1)


right_loss, right = case("right")
_, left = case("left")
right_loss.backward()
save_file(
    {name: parameter.grad.float().contiguous() for name, parameter in model.named_parameters()},
    golden / "gpt2_gradients.safetensors",
)
source = {
    "script": "bench/references/transformer_gpt2.py",
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    "seed": seed,
}
(golden / "gpt2.json").write_text(json.dumps({
    "source": source, "batch": 3, "time": time, "right": right, "left": left,
    "cachedLogits": rounded(cached_logits(rows[0])),
}))
