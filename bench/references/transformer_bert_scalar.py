"""Golden values of packages/transformer: a tiny randomly initialised BertForSequenceClassification with one label, in float64.

Run from the repository's root: python bench/references/transformer_bert_scalar.py
Writes packages/transformer/golden/bert_scalar/ (the checkpoint), bert_scalar.json and bert_scalar_gradients.safetensors.
"""
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

seed, vocabulary, time, lengths = 17, 13, 8, [8, 5, 3]
golden = pathlib.Path("packages/transformer/golden")
torch.manual_seed(seed)
config = transformers.BertConfig(
    vocab_size=vocabulary, num_hidden_layers=2, max_position_embeddings=32, hidden_size=8, intermediate_size=12,
    num_attention_heads=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=1, pad_token_id=0,
)
model = transformers.BertForSequenceClassification(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        gain = name.endswith("LayerNorm.weight")
        parameter.copy_(1 + 0.3 * noise if gain else 0.4 * noise)
shutil.rmtree(golden / "bert_scalar", ignore_errors=True)
model.save_pretrained(golden / "bert_scalar")
model.double()
ids, mask = torch.zeros(len(lengths), time, dtype=torch.long), torch.zeros(len(lengths), time, dtype=torch.long)
for i, length in enumerate(lengths):
    ids[i, :length], mask[i, :length] = torch.randint(2, vocabulary, (length,)), 1
positions = torch.arange(time).expand_as(ids) * mask
scores = model(ids, attention_mask=mask, position_ids=positions).logits[:, 0]
# The first is preferred to the second, the second to the third.
loss = -torch.nn.functional.logsigmoid(scores[:-1] - scores[1:]).mean()
loss.backward()
save_file(
    {name: value.grad.float().contiguous() for name, value in model.named_parameters()},
    golden / "bert_scalar_gradients.safetensors",
)
(golden / "bert_scalar.json").write_text(json.dumps({
    "source": {
        "script": "bench/references/transformer_bert_scalar.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": seed,
    },
    "batch": len(lengths), "time": time,
    "right": {
        "ids": ids.flatten().tolist(), "segments": mask.flatten().tolist(), "positions": positions.flatten().tolist(),
        "scores": scores.tolist(), "loss": loss.item(),
    },
}))
