import { cp, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadCheckpoint } from "./checkpoint.ts";
import { goldenPath } from "./testing/golden.ts";

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);
let folder = "";
let tensors = 0;

beforeEach(async () => {
  await useBackend("cpu");
  folder = await mkdtemp(join(tmpdir(), "hostile-"));
  tensors = tf.memory().numTensors;
});
afterEach(async () => {
  await rm(folder, { recursive: true });
  expect(tf.memory().numTensors).toBe(tensors);
});

const copyOf = (name: string) => cp(goldenPath(name), folder, { recursive: true });
const problem = async (tokenizer?: { vocabSize: number }) => {
  const error = await Effect.runPromise(
    Effect.provide(Effect.flip(loadCheckpoint(folder, tokenizer)), files),
  );
  return `${error._tag}: ${error.message}`;
};
const withConfig = async (change: object) => {
  const path = join(folder, "config.json");
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...change }));
};

describe("one error says what is wrong with", () => {
  it("a shape that does not fit the config", async () => {
    await copyOf("llama");
    await withConfig({ intermediate_size: 20 });
    const message = await problem();
    expect(message).toMatch(/^InvalidInput: /);
    expect(message).toMatch(
      /model\.safetensors: model\.layers\.0\.mlp\.gate_proj\.weight: .* \[20,8\] are required, found shape \[12,8\] of BF16/,
    );
    expect(message).toMatch(
      /model\.layers\.1\.mlp\.down_proj\.weight: .* \[8,20\] are required, found shape \[8,12\]/,
    );
  });

  it("a missing tensor", async () => {
    await copyOf("llama");
    await withConfig({ num_hidden_layers: 3 });
    expect(await problem()).toMatch(
      /model\.layers\.2\.self_attn\.q_proj\.weight: .* \[32,8\] are required, found no such/,
    );
  });

  it("a missing file of several, and one outside of the folder", async () => {
    await copyOf("qwen2");
    await rm(join(folder, "model-00002-of-00002.safetensors"));
    expect(await problem()).toMatch(
      /index\.json: names the file model-00002-of-00002\.safetensors, which is not there/,
    );
    await writeFile(
      join(folder, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { x: "../secret.safetensors" } }),
    );
    expect(await problem()).toMatch(/index\.json: weight_map: x: /);
  });

  it("a truncated file", async () => {
    await copyOf("qwen3");
    await truncate(join(folder, "model.safetensors"), 8000);
    expect(await problem()).toMatch(
      /model\.safetensors: \S+\.weight: shape \[[\d,]+\] ends at byte \d+ .* truncated/,
    );
  });

  it("a header of ten gigabytes, without reading it", async () => {
    await copyOf("llama");
    const path = join(folder, "model.safetensors");
    await writeFile(path, new BigUint64Array([10_000_000_000n]));
    await truncate(path, 20_000_000_000); // holes: nothing is written
    expect(await problem()).toMatch(/model\.safetensors: the header is said to have 10000000000 bytes/);
  });

  it("a pickle, under its own name or another", async () => {
    await copyOf("llama");
    await rename(join(folder, "model.safetensors"), join(folder, "pytorch_model.bin"));
    expect(await problem()).toMatch(
      /pytorch_model\.bin: weights in a pickle are refused: .*\n.*save_pretrained/,
    );
    await writeFile(
      join(folder, "model.safetensors"),
      Uint8Array.of(0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46),
    );
    expect(await problem()).toMatch(/model\.safetensors: this is a pickle/);
  });

  it("a tokenizer with more tokens than the embedding, while fewer are usual", async () => {
    await copyOf("llama");
    expect(await problem({ vocabSize: 14 })).toMatch(/^VocabularyMismatch: .*13 token embeddings.*14 tokens/);
    expect(await problem({ vocabSize: 14 })).toContain(folder);
  });

  it("another architecture, and settings that would change the math", async () => {
    await copyOf("llama");
    await withConfig({ model_type: "mamba" });
    expect(await problem()).toMatch(/config\.json: model_type: Expected "gpt2" \| .*"qwen3"/);
    await withConfig({ model_type: "llama", attention_bias: true, hidden_act: "gelu" });
    const message = await problem();
    expect(message).toMatch(/attention_bias/);
    expect(message).toMatch(/hidden_act/);
    await withConfig({
      attention_bias: false,
      hidden_act: "silu",
      rope_parameters: { rope_type: "longrope" },
    });
    expect(await problem()).toMatch(/rope_parameters/);
  });
});
