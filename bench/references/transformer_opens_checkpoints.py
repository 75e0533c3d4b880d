"""Checks that transformers opens checkpoints written by packages/transformer and computes the golden logits and scores.

Run from the repository's root, after transformer_gpt2.py: python bench/references/transformer_opens_checkpoints.py
"""
import json
import os
import pathlib
import subprocess
import tempfile

import torch
import transformers

write = """
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import * as Effect from "effect/Effect";
import { useBackend } from "@rlhf/tensor/backend";
import { loadCheckpoint, loadScalarModel, saveCheckpoint } from "./mod.ts";
const tokenizer = { vocabSize: 13, specials: { eos: 1, pad: 0 }, idToToken: String, toJSON: () => ({}) };
const copy = Effect.gen(function* () {
  yield* saveCheckpoint(process.env.TARGET + "/gpt2", yield* loadCheckpoint("golden/gpt2"), tokenizer);
  yield* saveCheckpoint(process.env.TARGET + "/gpt2_scalar", yield* loadScalarModel("golden/gpt2_scalar"), tokenizer);
});
await useBackend("cpu");
await Effect.runPromise(copy.pipe(Effect.provide(NodeFileSystem.layer), Effect.provide(NodePath.layer)));
"""
package = pathlib.Path("packages/transformer")
golden = json.loads((package / "golden/gpt2.json").read_text())
case = golden["right"]
ids, mask = (torch.tensor(case[name]).reshape(golden["batch"], golden["time"]) for name in ("ids", "segments"))
with tempfile.TemporaryDirectory() as target:
    command = ["npx", "tsx", "--input-type=module", "-e", write]
    subprocess.run(command, cwd=package, check=True, env={**os.environ, "TARGET": target})
    model = transformers.AutoModelForCausalLM.from_pretrained(f"{target}/gpt2", dtype=torch.float64)
    scalar = transformers.AutoModelForSequenceClassification.from_pretrained(f"{target}/gpt2_scalar", dtype=torch.float64)
with torch.no_grad():
    found = model(ids, attention_mask=mask).logits * mask[..., None]
    scores = scalar(ids, attention_mask=mask).logits
for name, value in (("logits", found), ("scores", scores)):
    expected = torch.tensor(case[name], dtype=torch.float64)
    error = ((value.flatten() - expected).norm() / expected.norm()).item()
    print(f"{name}: relative error {error:.1e}")
    assert error < 1e-6
