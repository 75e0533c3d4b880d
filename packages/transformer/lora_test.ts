import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { key } from "@rlhf/core/random";
import { expectFidelity, type GoldenSource, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import { valueAndGrads } from "@rlhf/tensor/value_and_grads";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import type { FileSystem } from "effect/FileSystem";
import * as Layer from "effect/Layer";
import type { Path } from "effect/Path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadAdapter, loadScalarAdapter, saveAdapter } from "./adapter_file.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { generate } from "./generate.ts";
import { hiddenStates } from "./hidden_states.ts";
import { nextTokenLogProbs } from "./log_probs.ts";
import { logits } from "./logits.ts";
import { addLora, mergeLora, withoutAdapter } from "./lora.ts";
import type { LoraConfig } from "./lora_config.ts";
import { cloneModel, disposeModel, type Model } from "./model.ts";
import { cloneScalarModel, disposeScalarModel, initScalarModel, sequenceScores } from "./scalar_head.ts";
import { goldenPath, meanNegative, oneSequence } from "./testing/golden.ts";
import { atRealTokens, cpuAndNative, inputOf, readGoldenModel } from "./testing/golden_model.ts";
import { tinyModel } from "./testing/tiny_model.ts";

/** From Hugging Face's PEFT: bench/references/transformer_lora.py. */
const {
  source,
  ...results
}: { readonly source: GoldenSource } & Record<
  string,
  { logits: Array<number>; loss: number; gradients: Record<string, Array<number>> }
> = JSON.parse(await readFile(goldenPath("lora.json"), "utf8"));

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);
const run = <A, E>(effect: Effect.Effect<A, E, FileSystem | Path>) =>
  Effect.runPromise(Effect.provide(effect, files));
const backends = await cpuAndNative();
const lora: LoraConfig = { rank: 2, alpha: 4, dropout: 0, targetModules: ["c_attn", "c_fc"] };

let folder = "";
let tensors = 0;
beforeEach(async () => {
  await useBackend("cpu");
  folder = await mkdtemp(join(tmpdir(), "adapter-"));
  tensors = tf.memory().numTensors;
});
afterEach(async () => {
  await rm(folder, { recursive: true });
  expect(tf.memory().numTensors).toBe(tensors);
});

const numbers = async ({ params }: Pick<Model, "params">) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(params).map(async ([name, param]) => [name, Array.from(await param.data())] as const),
    ),
  );
/** The value of a tensor, which is freed. */
const take = async (tensor: tf.Tensor) => {
  const values = Array.from(await tensor.data());
  tensor.dispose();
  return values;
};
/** An adapter that changes something: B is no longer 0. */
const trained = (base: Model, config = lora): Model => {
  const model = addLora(base, config, key(3));
  tf.tidy(() => {
    for (const param of Object.values(model.params)) param.assign(tf.add(param, 0.2));
  });
  return model;
};

describe.each(["gpt2", "llama"].flatMap((name) => backends.map((backend) => [name, backend] as const)))(
  "an adapter of PEFT on %s, on %s",
  (name, backend) => {
    it("gives PEFT's logits, loss and gradients", async () => {
      await useBackend(backend);
      const before = tf.memory().numTensors;
      const model = readGoldenModel(name);
      const expected = results[name]!;
      const check = (what: string, error: number) =>
        expectFidelity({ formula: `LoRA on ${name}: ${what}`, source, error, limit: 1e-5 });
      const base = await run(loadCheckpoint(goldenPath(name)));
      const adapted = await run(loadAdapter(goldenPath(`${name}_lora`), base));
      const batch = inputOf(model, model.right);
      const found = await take(tf.tidy(() => atRealTokens(logits(adapted, batch), batch.segments)));
      check("logits", relativeError(found, expected.logits));
      const { value, grads } = valueAndGrads(
        () => meanNegative(nextTokenLogProbs(adapted, batch).logProbs, batch.segments),
        adapted.params,
      );
      check("loss", relativeError(await value.data(), [expected.loss]));
      expect(Object.keys(grads).sort()).toEqual(Object.keys(expected.gradients).sort());
      for (const [name, gradient] of Object.entries(grads)) {
        check("gradients of the adapter", relativeError(await gradient.data(), expected.gradients[name]!));
      }
      const merged = mergeLora(adapted);
      const ofMerged = await take(tf.tidy(() => atRealTokens(logits(merged, batch), batch.segments)));
      check("logits of the merged model", relativeError(ofMerged, expected.logits));
      tf.dispose([value, ...Object.values(grads), batch.ids, batch.segments, batch.positions]);
      for (const each of [merged, adapted, base]) disposeModel(each);
      expect(tf.memory().numTensors).toBe(before);
    });
  },
);

it("changes nothing at first, and leaves the base its bits through merging", async () => {
  const base = tinyModel();
  const original = await numbers(base);
  const fresh = addLora(base, lora, key(3));
  expect(Object.keys(fresh.params)).toEqual(
    [0, 1].flatMap((layer) =>
      ["attn.c_attn", "mlp.c_fc"].flatMap((map) =>
        ["A", "B"].map((part) => `base_model.model.transformer.h.${layer}.${map}.lora_${part}.weight`),
      ),
    ),
  );
  const batch = oneSequence([3, 4, 5, 6]);
  expect(await take(hiddenStates(fresh, batch))).toEqual(await take(hiddenStates(base, batch)));
  const model = trained(base);
  const merged = mergeLora(model);
  expect(await numbers(merged)).not.toEqual(original);
  expect(relativeError(await take(logits(merged, batch)), await take(logits(model, batch)))).toBeLessThan(
    1e-6,
  );
  disposeModel(merged);
  expect(await numbers(base)).toEqual(original);
  expect(withoutAdapter(model).params).toBe(base.params);
  tf.dispose([batch.ids, batch.segments, batch.positions]);
  for (const each of [fresh, model, base]) disposeModel(each);
});

it("generates with the adapter, and judges its words with the same log-probs", async () => {
  const base = tinyModel();
  const model = trained(base);
  const options = { prompts: [[4, 5, 6]], maxNewTokens: 6, eos: 1, temperature: 0.7, key: key(9) };
  const [generation] = await generate(model, options);
  const { tokens, logProbs } = generation!;
  const batch = oneSequence([4, 5, 6, ...tokens]);
  const judged = nextTokenLogProbs(model, batch, { temperature: 0.7 });
  const expected = (await judged.logProbs.data()).slice(3);
  logProbs.forEach((logProb, i) => {
    expect(Math.abs(logProb - expected[i]!)).toBeLessThan(1e-5);
  });
  tf.dispose([judged.logProbs, judged.entropy, batch.ids, batch.segments, batch.positions]);
  for (const each of [model, base]) disposeModel(each);
});

it("drops out at its own rate, in passes with dropout only", async () => {
  const base = tinyModel();
  const model = trained(base, { ...lora, dropout: 0.5 });
  const batch = oneSequence([3, 4, 5, 6]);
  const states = (seed?: number) =>
    take(hiddenStates(model, batch, seed === undefined ? {} : { dropout: { rate: 0, key: key(seed) } }));
  expect(await states()).toEqual(await states());
  expect(await states(1)).toEqual(await states(1));
  expect(await states(1)).not.toEqual(await states());
  expect(await states(1)).not.toEqual(await states(2));
  tf.dispose([batch.ids, batch.segments, batch.positions]);
  for (const each of [model, base]) disposeModel(each);
});

it("saves adapters, of reward models with their head, and reads them back", async () => {
  const base = tinyModel();
  const model = trained(base);
  await run(saveAdapter(folder, model, "tiny"));
  const loaded = await run(loadAdapter(folder, base));
  expect(loaded.adapter?.lora).toEqual(lora);
  expect(await numbers(loaded)).toEqual(await numbers(model));

  const scorer = initScalarModel(cloneModel(model), key(4));
  tf.tidy(() => scorer.head.bias.assign(tf.scalar(0.5)));
  await run(saveAdapter(folder, scorer, "tiny"));
  const loadedScorer = await run(loadScalarAdapter(folder, base));
  const copy = cloneScalarModel(loadedScorer);
  const batch = oneSequence([3, 4, 5, 6]);
  expect(await take(sequenceScores(copy, batch))).toEqual(await take(sequenceScores(scorer, batch)));
  tf.dispose([batch.ids, batch.segments, batch.positions]);
  for (const each of [scorer, loadedScorer, copy]) disposeScalarModel(each);
  for (const each of [loaded, model, base]) disposeModel(each);
});

it("says what is wrong with an adapter", async () => {
  const base = tinyModel();
  expect(() => addLora(base, { ...lora, targetModules: ["q_proj"] }, key(1))).toThrow(
    /must name maps of gpt2 \(c_attn, c_proj, c_fc\), got q_proj/,
  );
  const model = trained(base);
  expect(() => addLora(model, lora, key(1))).toThrow(/has one already/);
  const failure = <A, E>(effect: Effect.Effect<A, E, FileSystem | Path>) => run(Effect.flip(effect));
  expect(await failure(saveCheckpoint(folder, model))).toMatchObject({ message: /saveAdapter/ });
  expect(await failure(saveAdapter(folder, base, "tiny"))).toMatchObject({ message: /no adapter/ });
  expect(await failure(loadAdapter(folder, base))).toMatchObject({ _tag: "CheckpointNotFound" });
  await run(saveAdapter(folder, model, "tiny"));
  const file = join(folder, "adapter_config.json");
  const config = JSON.parse(await readFile(file, "utf8"));
  const withConfig = async (change: object) => {
    await writeFile(file, JSON.stringify({ ...config, ...change }));
    return failure(loadAdapter(folder, base));
  };
  expect(await withConfig({ r: 3 })).toMatchObject({
    message: /lora_A.weight: .*\[3,8\] are required, found shape \[2,8\]/,
  });
  expect(await withConfig({ use_dora: true })).toMatchObject({ message: /use_dora/ });
  expect(await withConfig({ rank_pattern: { c_fc: 3 } })).toMatchObject({ message: /rank_pattern/ });
  expect(await withConfig({ target_modules: ["q_proj"] })).toMatchObject({ message: /maps of gpt2/ });
  for (const each of [model, base]) disposeModel(each);
});
