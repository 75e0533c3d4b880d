"""Golden values of packages/transformer: the distributions that Hugging Face's logits processors leave to draw from.

Run from the repository's root: python bench/references/transformer_sampling.py
Writes packages/transformer/golden/sampling.json.
"""
import json
import pathlib

import torch
import transformers
from transformers.generation.logits_process import (
    LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
)

seed, rows, vocabulary = 5, 4, 23
torch.manual_seed(seed)
logits = (2 * torch.randn(rows, vocabulary)).float()
texts = torch.randint(0, vocabulary, (rows, 6))
cases = []
for settings in (
    dict(temperature=1.0), dict(temperature=0.6), dict(temperature=1.7), dict(temperature=1.0, topK=5),
    dict(temperature=0.8, topP=0.7), dict(temperature=1.3, topK=9, topP=0.9), dict(temperature=1.0, topK=1),
    dict(temperature=1.0, repetitionPenalty=1.3), dict(temperature=0.7, topK=8, topP=0.85, repetitionPenalty=1.8),
):
    processors = LogitsProcessorList()
    if "repetitionPenalty" in settings:
        processors.append(RepetitionPenaltyLogitsProcessor(settings["repetitionPenalty"]))
    processors.append(TemperatureLogitsWarper(settings["temperature"]))
    if "topK" in settings:
        processors.append(TopKLogitsWarper(settings["topK"]))
    if "topP" in settings:
        processors.append(TopPLogitsWarper(settings["topP"]))
    probabilities = processors(texts, logits.double()).softmax(-1)
    cases.append({"settings": settings, "probabilities": [float(f"{p:.9g}") for p in probabilities.flatten().tolist()]})
pathlib.Path("packages/transformer/golden/sampling.json").write_text(json.dumps({
    "source": {
        "script": "bench/references/transformer_sampling.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "seed": seed,
    },
    "rows": rows, "vocabulary": vocabulary, "logits": [float(f"{v:.9g}") for v in logits.flatten().tolist()],
    "texts": texts.tolist(), "cases": cases,
}))
