"""Golden values of packages/transformer: the golden models after resize_token_embeddings of Hugging Face's transformers, in float64.

Run from the repository's root, after the other transformer scripts: python bench/references/transformer_resize.py
Writes packages/transformer/golden/resized.json.
"""
import json
import pathlib

import torch
import transformers

seed = 17
more = 3
golden = pathlib.Path("packages/transformer/golden")


def rounded(x):
    return [float(f"{v:.9g}") for v in x.flatten().tolist()]


results = {}
for name in ("gpt2", "qwen3", "llama", "bert"):
    torch.manual_seed(seed)
    case = json.loads((golden / f"{name}.json").read_text())
    ids, mask = (torch.tensor(case["right"][key]).reshape(case["batch"], case["time"]) for key in ("ids", "segments"))
    auto = transformers.AutoModelForMaskedLM if name == "bert" else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(golden / name, dtype=torch.float64).eval()
    model.resize_token_embeddings(model.config.vocab_size + more)
    with torch.no_grad():
        results[name] = {"vocabSize": model.config.vocab_size, "logits": rounded(model(ids, attention_mask=mask).logits * mask[..., None])}
source = {
    "script": "bench/references/transformer_resize.py",
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    "seed": seed,
}
(golden / "resized.json").write_text(json.dumps({"source": source, **results}))
