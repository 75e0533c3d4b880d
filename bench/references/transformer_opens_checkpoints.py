"""Checks that transformers and PEFT open what packages/transformer writes, and compute the golden logits and scores.

Run from the repository's root, after the other transformer scripts: python bench/references/transformer_opens_checkpoints.py
"""
import json
import os
import pathlib
import subprocess
import tempfile

import peft
import torch
import transformers

write = """
import { readFileSync } from "node:fs";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import {
  initScalarModel, loadAdapter, loadCheckpoint, loadScalarModel, mergeLora, saveAdapter, saveCheckpoint,
} from "./mod.ts";
const tokenizer = { vocabSize: 13, specials: { eos: 1, pad: 0 }, idToToken: String, toJSON: () => ({}) };
const target = process.env.TARGET;
const copy = Effect.gen(function* () {
  for (const name of ["gpt2", "llama", "qwen2", "qwen3", "bert"]) {
    const model = yield* loadCheckpoint("golden/" + name);
    yield* saveCheckpoint(target + "/" + name, model, tokenizer);
    const { scoreWeight } = JSON.parse(readFileSync("golden/" + name + ".json", "utf8"));
    if (scoreWeight === undefined) continue;
    const scorer = initScalarModel(model, key(1));
    scorer.head.weight.assign(tf.tensor1d(scoreWeight));
    yield* saveCheckpoint(target + "/" + name + "_scalar", scorer, tokenizer);
  }
  for (const name of ["gpt2_scalar", "bert_scalar"]) {
    yield* saveCheckpoint(target + "/" + name, yield* loadScalarModel("golden/" + name), tokenizer);
  }
  for (const name of ["gpt2", "llama"]) {
    const adapted = yield* loadAdapter("golden/" + name + "_lora", yield* loadCheckpoint("golden/" + name));
    yield* saveAdapter(target + "/" + name + "_lora", adapted, target + "/" + name);
    yield* saveCheckpoint(target + "/" + name + "_merged", mergeLora(adapted), tokenizer);
  }
});
await useBackend("cpu");
await Effect.runPromise(copy.pipe(Effect.provide(NodeFileSystem.layer), Effect.provide(NodePath.layer)));
"""
package = pathlib.Path("packages/transformer")


def check(what, found, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    error = ((found.flatten() - expected).norm() / expected.norm()).item()
    print(f"{what}: relative error {error:.1e}")
    assert error < 1e-6


with tempfile.TemporaryDirectory() as target, torch.no_grad():
    command = ["npx", "tsx", "--input-type=module", "-e", write]
    subprocess.run(command, cwd=package, check=True, env={**os.environ, "TARGET": target})
    adapters = json.loads((package / "golden/lora.json").read_text())
    for name in ("gpt2", "llama", "qwen2", "qwen3", "bert", "bert_scalar"):
        golden = json.loads((package / f"golden/{name}.json").read_text())
        case = golden["right"]
        ids, mask = (torch.tensor(case[key]).reshape(golden["batch"], golden["time"]) for key in ("ids", "segments"))
        auto = transformers.AutoModelForMaskedLM if name == "bert" else transformers.AutoModelForCausalLM

        def logits(model):
            return model(ids, attention_mask=mask).logits * mask[..., None]

        if "logits" in case:
            check(f"{name} logits", logits(auto.from_pretrained(f"{target}/{name}", dtype=torch.float64)), case["logits"])
        if "scores" in case:
            classifier = transformers.AutoModelForSequenceClassification
            folder = f"{target}/{name.removesuffix('_scalar')}_scalar"
            scorer = classifier.from_pretrained(folder, dtype=torch.float64)
            check(f"{name} scores", scorer(ids, attention_mask=mask).logits, case["scores"])
        if name in adapters:
            base = auto.from_pretrained(f"{target}/{name}", dtype=torch.float64)
            adapted = peft.PeftModel.from_pretrained(base, f"{target}/{name}_lora").double().eval()
            check(f"{name} with adapter", logits(adapted), adapters[name]["logits"])
            merged = auto.from_pretrained(f"{target}/{name}_merged", dtype=torch.float64)
            check(f"{name} merged", logits(merged), adapters[name]["logits"])
