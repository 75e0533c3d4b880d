"""Golden values of packages/transformer: adapters of Hugging Face's PEFT on the golden models, in float64.

Run from the repository's root, after the other transformer scripts: python bench/references/transformer_lora.py
Writes packages/transformer/golden/<model>_lora/ (adapters) and lora.json.
"""
import json
import pathlib

import peft
import torch
import transformers

seed = 13
golden = pathlib.Path("packages/transformer/golden")
targets = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
}


def rounded(x):
    return [float(f"{v:.9g}") for v in x.flatten().tolist()]


results = {}
for name, modules in targets.items():
    torch.manual_seed(seed)
    case = json.loads((golden / f"{name}.json").read_text())
    ids, mask = (torch.tensor(case["right"][key]).reshape(case["batch"], case["time"]) for key in ("ids", "segments"))
    base = transformers.AutoModelForCausalLM.from_pretrained(golden / name, dtype=torch.float64)
    config = peft.LoraConfig(
        r=3, lora_alpha=5, lora_dropout=0.1, target_modules=modules, task_type="CAUSAL_LM", bias="none",
        base_model_name_or_path=name,
    )
    model = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.copy_((0.2 * torch.randn_like(parameter)).float())
    model.float().save_pretrained(golden / f"{name}_lora")
    (golden / f"{name}_lora" / "README.md").unlink(missing_ok=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(golden / name, dtype=torch.float64)
    model = peft.PeftModel.from_pretrained(base, golden / f"{name}_lora", is_trainable=True).double().eval()
    logits = model(ids, attention_mask=mask).logits
    counts = (mask[:, :-1] * mask[:, 1:]).double()
    log_probs = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    loss = -(log_probs * counts).sum() / counts.sum()
    loss.backward()
    results[name] = {
        "logits": rounded(logits * mask[..., None]),
        "loss": loss.item(),
        "gradients": {
            key.replace(".default", ""): rounded(value.grad)
            for key, value in model.named_parameters() if "lora_" in key
        },
    }
# A reward model: PEFT trains the classifier beside the adapter, and leaves the pooler as it is.
torch.manual_seed(seed)
case = json.loads((golden / "bert_scalar.json").read_text())
ids, mask, positions = (
    torch.tensor(case["right"][key]).reshape(case["batch"], case["time"]) for key in ("ids", "segments", "positions")
)
classifier = lambda: transformers.AutoModelForSequenceClassification.from_pretrained(  # noqa: E731
    golden / "bert_scalar", dtype=torch.float64
)
config = peft.LoraConfig(
    r=3, lora_alpha=5, lora_dropout=0.1, target_modules=["query", "value"], task_type="SEQ_CLS", bias="none",
    base_model_name_or_path="bert_scalar",
)
model = peft.get_peft_model(classifier(), config).eval()
trained = ("lora_", "modules_to_save")
with torch.no_grad():
    for key, parameter in model.named_parameters():
        if any(part in key for part in trained):
            parameter.copy_((0.2 * torch.randn_like(parameter)).float())
model.float().save_pretrained(golden / "bert_scalar_lora")
(golden / "bert_scalar_lora" / "README.md").unlink(missing_ok=True)
model = peft.PeftModel.from_pretrained(classifier(), golden / "bert_scalar_lora", is_trainable=True).double().eval()
scores = model(ids, attention_mask=mask, position_ids=positions).logits[:, 0]
loss = -torch.nn.functional.logsigmoid(scores[:-1] - scores[1:]).mean()
loss.backward()
results["bert_scalar"] = {
    "scores": rounded(scores),
    "loss": loss.item(),
    "gradients": {
        key.replace("base_model.model.classifier.modules_to_save.default", "score").replace(".default", ""):
            rounded(value.grad)
        for key, value in model.named_parameters() if any(part in key for part in trained)
    },
}
source = {
    "script": "bench/references/transformer_lora.py",
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    "seed": seed,
}
(golden / "lora.json").write_text(json.dumps({"source": source, **results}))
