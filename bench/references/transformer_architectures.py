"""Golden values of packages/transformer: tiny randomly initialised models of Hugging Face transformers, in float64.

Run from the repository's root: python bench/references/transformer_architectures.py
Writes packages/transformer/golden/<model>/ (checkpoints), <model>.json and <model>_gradients.safetensors.
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

seed = 11
golden = pathlib.Path("packages/transformer/golden")
pad, vocabulary, context = 0, 13, 32
common = dict(
    vocab_size=vocabulary, num_hidden_layers=2, max_position_embeddings=context, pad_token_id=pad, bos_token_id=None,
    attn_implementation="sdpa",
)
gated = dict(**common, hidden_size=8, intermediate_size=12, num_attention_heads=4, num_key_value_heads=2, eos_token_id=1)
llama3 = dict(
    rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
scalings = {
    "linear": dict(rope_type="linear", rope_theta=100.0, factor=2.5),
    "yarn": dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16),
}
models = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaForSequenceClassification, torch.bfloat16,
              transformers.LlamaConfig(**gated, head_dim=8, rope_parameters=llama3, tie_word_embeddings=False)),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2ForSequenceClassification, torch.float16,
              transformers.Qwen2Config(**gated, rope_parameters=dict(rope_type="default", rope_theta=1e4),
                                       tie_word_embeddings=True)),
    "qwen3": (transformers.Qwen3ForCausalLM, transformers.Qwen3ForSequenceClassification, torch.float32,
              transformers.Qwen3Config(**gated, head_dim=4, rope_parameters=dict(rope_type="default", rope_theta=1e6),
                                       tie_word_embeddings=False)),
    "bert": (transformers.BertForMaskedLM, None, torch.float32,
             transformers.BertConfig(**common, hidden_size=8, intermediate_size=12, num_attention_heads=2,
                                     hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}
time, lengths = 8, [8, 5, 3]


def randomise(model, dtype):
    """Far from the near-zero initialisation, so that every term shows; and exact in the type that is stored."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            gain = name.endswith("weight") and parameter.dim() == 1
            parameter.copy_((1 + 0.3 * noise if gain else 0.4 * noise).to(dtype))


def padded(rows, side):
    ids = torch.full((len(rows), time), pad)
    mask = torch.zeros(len(rows), time, dtype=torch.long)
    positions = torch.zeros(len(rows), time, dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(0, len(row)) if side == "right" else slice(time - len(row), time)
        ids[i, at], mask[i, at], positions[i, at] = torch.tensor(row), 1, torch.arange(len(row))
    return ids, mask, positions


def rounded(x):
    return [float(f"{v:.9g}") for v in x.double().flatten().tolist()]


def mean_loss(logits, ids, mask, masked_lm):
    if masked_lm:  # every real token is predicted at its own place
        counts = mask.double()
        log_probs = logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
    else:
        counts = (mask[:, :-1] * mask[:, 1:]).double()
        log_probs = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return -log_probs.masked_fill(counts == 0, 0).sum() / counts.sum()


def at_real_tokens(x, mask):
    """Zeros at padding, where the reference may have NaN."""
    return x.masked_fill(mask[..., None] == 0, 0)


def cached_logits(model, row):
    """The logits of one sequence, read in three pieces with a key-value cache."""
    cache, found, done = transformers.DynamicCache(config=model.config), [], 0
    for size in (3, 1, len(row) - 4):
        ids = torch.tensor([row[done:done + size]])
        found.append(model(ids, past_key_values=cache, use_cache=True).logits)
        done += size
    return torch.cat(found, 1)


for name, (kind, classifier, dtype, config) in models.items():
    torch.manual_seed(seed)
    model = kind(config).eval()
    randomise(model, dtype)
    shutil.rmtree(golden / name, ignore_errors=True)
    # The one in several files has an index.
    model.to(dtype).save_pretrained(golden / name, max_shard_size="2KB" if name == "qwen2" else "1GB")
    (golden / name / "generation_config.json").unlink(missing_ok=True)
    # Read back, because a cast model has lost the precision of its rotary frequencies.
    model = kind.from_pretrained(golden / name, dtype=torch.float64).eval()
    rows = [torch.randint(2, vocabulary, (length,)).tolist() for length in lengths]
    # BERT has no final norm: every block ends with one.
    final_norm = model.model.norm if hasattr(model, "model") else torch.nn.Identity()
    result = {}
    for side in ("right", "left"):
        ids, mask, positions = padded(rows, side)
        inputs = dict(input_ids=ids, attention_mask=mask, position_ids=positions, output_hidden_states=True)
        output = model(**inputs)
        loss = mean_loss(output.logits, ids, mask, name == "bert")
        if side == "right":
            loss.backward()
            gradients = {key: value.grad.float().contiguous() for key, value in model.named_parameters()}
            save_file(gradients, golden / f"{name}_gradients.safetensors")
        result[side] = {
            "ids": ids.flatten().tolist(), "segments": mask.flatten().tolist(),
            "positions": positions.flatten().tolist(), "logits": rounded(at_real_tokens(output.logits, mask)),
            "hidden": rounded(at_real_tokens(output.hidden_states[-1], mask)), "loss": loss.item(),
            # As if the model ended there: the final norm behind the states of every earlier layer.
            "layers": [rounded(at_real_tokens(final_norm(x), mask)) for x in output.hidden_states[:-1]],
        }
    with torch.no_grad():
        if classifier is not None:
            scorer = classifier(type(config)(**{**config.to_dict(), "num_labels": 1})).eval()
            scorer.model.load_state_dict(model.model.state_dict())
            scorer.double()
            scorer.score.weight.copy_(torch.randn_like(scorer.score.weight))
            result["scoreWeight"] = rounded(scorer.score.weight)
            for side in ("right", "left"):
                ids, mask, positions = padded(rows, side)
                result[side]["scores"] = rounded(scorer(ids, attention_mask=mask, position_ids=positions).logits)
            result["cachedLogits"] = rounded(cached_logits(model, rows[0]))
        if name == "llama":
            ids, mask, positions = padded(rows, "right")
            result["scaled"] = {}
            for scaling, parameters in scalings.items():
                other = kind(type(config)(**{**config.to_dict(), "rope_parameters": parameters})).double().eval()
                other.load_state_dict(model.state_dict())
                logits = other(ids, attention_mask=mask, position_ids=positions).logits
                result["scaled"][scaling] = {"rope_parameters": parameters, "logits": rounded(at_real_tokens(logits, mask))}
    source = {
        "script": "bench/references/transformer_architectures.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": seed,
    }
    (golden / f"{name}.json").write_text(json.dumps({"source": source, "batch": len(rows), "time": time, **result}))
