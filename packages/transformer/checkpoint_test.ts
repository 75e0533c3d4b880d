import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import type { FileSystem } from "effect/FileSystem";
import * as Layer from "effect/Layer";
import type { Path } from "effect/Path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CheckpointTokenizer, loadCheckpoint, loadScalarModel, saveCheckpoint } from "./checkpoint.ts";
import { loadGenerationSettings } from "./generation_config.ts";
import { disposeModel, type Model } from "./model.ts";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";
import { disposeScalarModel, initScalarModel } from "./scalar_head.ts";
import { tinyConfig, tinyModel } from "./testing/tiny_model.ts";

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);

let folder = "";
let tensors = 0;

beforeEach(async () => {
  await useBackend("cpu");
  folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
  tensors = tf.memory().numTensors;
});
afterEach(async () => {
  await rm(folder, { recursive: true });
  expect(tf.memory().numTensors).toBe(tensors);
});

const run = <A, E>(effect: Effect.Effect<A, E, FileSystem | Path>) =>
  Effect.runPromise(Effect.provide(effect, files));
const failure = <A, E>(effect: Effect.Effect<A, E, FileSystem | Path>) => run(Effect.flip(effect));
const numbers = async ({ params }: Pick<Model, "params">) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(params).map(async ([name, param]) => [name, [param.shape, ...(await param.data())]]),
    ),
  );

const tokenizer: CheckpointTokenizer = {
  vocabSize: tinyConfig.vocabSize,
  specials: { eos: 1, pad: 0 },
  idToToken: (id) => ["<|pad|>", "<|endoftext|>"][id],
  toJSON: () => ({ version: "1.0" }),
};

it("brings a language model back as it was", async () => {
  const model = tinyModel();
  await run(saveCheckpoint(folder, model, tokenizer));
  const loaded = await run(loadCheckpoint(folder, tokenizer));
  expect(loaded.config).toEqual(model.config);
  expect(await numbers(loaded)).toEqual(await numbers(model));
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  expect(config).toMatchObject({ model_type: "gpt2", eos_token_id: 1, pad_token_id: 0, n_embd: 8 });
  expect(JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"))).toEqual({ version: "1.0" });
  disposeModel(model);
  disposeModel(loaded);
});

it("reads what a checkpoint recommends for generation", async () => {
  expect(await run(loadGenerationSettings(folder))).toEqual({});
  const model = tinyModel();
  await run(saveCheckpoint(folder, model, tokenizer));
  disposeModel(model);
  expect(await run(loadGenerationSettings(folder))).toEqual({ eos: [1], topK: 1 });
  const file = join(folder, "generation_config.json");
  const recommended = { eos_token_id: [1, 5], do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.95 };
  await writeFile(file, JSON.stringify({ ...recommended, repetition_penalty: 1.1, pad_token_id: 0 }));
  expect(await run(loadGenerationSettings(folder))).toEqual({
    eos: [1, 5],
    temperature: 0.6,
    topK: 20,
    topP: 0.95,
    repetitionPenalty: 1.1,
  });
  await writeFile(file, JSON.stringify({ top_p: 2, num_beams: 4 }));
  const { message } = await failure(loadGenerationSettings(folder));
  expect(message).toMatch(/generation_config\.json: top_p/);
  expect(message).toMatch(/generation_config\.json: num_beams/);
});

it("brings a masked language model back", async () => {
  const model = tinyModel({ ...tinyConfig, architecture: "masked-lm" });
  await run(saveCheckpoint(folder, model));
  const loaded = await run(loadCheckpoint(folder));
  expect(loaded.config.architecture).toBe("masked-lm");
  disposeModel(model);
  disposeModel(loaded);
});

it("brings a scalar model back, bias included, and does not take one kind for the other", async () => {
  const model = initScalarModel(tinyModel(), key(2));
  tf.tidy(() => model.head.bias.assign(tf.scalar(0.5)));
  await run(saveCheckpoint(folder, model));
  const loaded = await run(loadScalarModel(folder));
  expect(await numbers(loaded)).toEqual(await numbers(model));
  expect(await failure(loadCheckpoint(folder))).toMatchObject({
    _tag: "InvalidInput",
    message: /loadScalarModel/,
  });
  disposeScalarModel(loaded);
  const { backbone } = model;
  await run(saveCheckpoint(folder, backbone));
  expect(await failure(loadScalarModel(folder))).toMatchObject({
    _tag: "InvalidInput",
    message: /loadCheckpoint/,
  });
  disposeScalarModel(model);
});

it("reads files without prefix, as those of the original GPT-2", async () => {
  const model = tinyModel();
  await run(saveCheckpoint(folder, model));
  const file = join(folder, "model.safetensors");
  const stored = Object.entries(decodeSafetensors(await readFile(file)));
  await writeFile(
    file,
    encodeSafetensors(Object.fromEntries(stored.map(([name, tensor]) => [name.slice(12), tensor]))),
  );
  const loaded = await run(loadCheckpoint(folder));
  expect(await numbers(loaded)).toEqual(await numbers(model));
  disposeModel(model);
  disposeModel(loaded);
});

it("says what is wrong with a checkpoint", async () => {
  const configFile = join(folder, "config.json");
  const weightsFile = join(folder, "model.safetensors");
  expect(await failure(loadCheckpoint(folder))).toMatchObject({ _tag: "CheckpointNotFound", path: folder });

  const model = tinyModel();
  expect(await failure(saveCheckpoint(folder, model, { ...tokenizer, vocabSize: 12 }))).toMatchObject({
    _tag: "VocabularyMismatch",
  });
  await run(saveCheckpoint(folder, model));
  disposeModel(model);
  expect(await failure(loadCheckpoint(folder, { vocabSize: 12 }))).toMatchObject({
    _tag: "VocabularyMismatch",
    expected: 11,
    found: 12,
  });

  const bytes = await readFile(weightsFile);
  await writeFile(weightsFile, bytes.subarray(0, bytes.length - 10));
  expect((await failure(loadCheckpoint(folder))).message).toMatch(
    /model.safetensors: transformer\.\S+: .*truncated/,
  );
  await writeFile(weightsFile, "hello, world");
  expect((await failure(loadCheckpoint(folder))).message).toMatch(/not safetensors/);

  const { "transformer.wpe.weight": _, ...rest } = decodeSafetensors(bytes);
  await writeFile(
    weightsFile,
    encodeSafetensors({ ...rest, "transformer.ln_f.bias": { shape: [2], values: new Float32Array(2) } }),
  );
  const { message } = await failure(loadCheckpoint(folder));
  expect(message).toMatch(/wpe.weight: .* \[24,8\] are required, found no such tensor/);
  expect(message).toMatch(/ln_f.bias: .* \[8\] are required, found shape \[2\]/);

  const config = JSON.parse(await readFile(configFile, "utf8"));
  await writeFile(configFile, JSON.stringify({ ...config, n_head: 3, activation_function: "relu" }));
  expect((await failure(loadCheckpoint(folder))).message).toMatch(/activation_function/);
  await writeFile(configFile, JSON.stringify({ ...config, n_head: 3 }));
  expect((await failure(loadCheckpoint(folder))).message).toMatch(/multiple of heads/);
  await writeFile(configFile, "{");
  expect((await failure(loadCheckpoint(folder))).message).toMatch(/config.json/);
});
