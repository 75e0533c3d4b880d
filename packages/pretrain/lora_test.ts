import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { integers, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { addLora, disposeModel, initModel, type Model, type TransformerConfig } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PretrainConfig } from "./config.ts";
import { pretrain } from "./train.ts";
import { pretrainMasked } from "./train_masked.ts";

let tensors = 0;
beforeEach(async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(tensors));

const shape = { vocabSize: 12, contextLength: 12, layers: 1, width: 16, heads: 2 } as const;
const gpt2: TransformerConfig = { architecture: "gpt2", ...shape };
const bert: TransformerConfig = {
  architecture: "bert",
  ...shape,
  innerWidth: 32,
  epsilon: 1e-12,
  tokenTypes: 2,
};
const config = PretrainConfig.make({
  steps: 20,
  batchSize: 8,
  learningRate: 3e-2,
  warmupSteps: 3,
  evaluateEvery: 20,
});

/** Counts upwards by ones, from one of two starts. */
const rows = (seed: number) =>
  Array.from(integers(key(seed), 24, 2), (start) => Array.from({ length: 6 }, (_, i) => start + i));
const bytesOf = ({ params }: Pick<Model, "params">) =>
  Object.values(params).reduce((sum, { size }) => sum + 4 * size, 0);
const numbers = ({ params }: Pick<Model, "params">) =>
  Object.values(params).map((param) => Array.from(param.dataSync()));

/** The losses of the steps, and the bytes that are held at each. */
const run = async <A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>) => {
  const steps: Array<{ readonly loss: number; readonly bytes: number }> = [];
  const watch = (event: ProgressEvent) => {
    if (event._tag === "Step") steps.push({ loss: event.metrics.loss!, bytes: tf.memory().numBytes });
  };
  const watcher = {
    publish: (event: ProgressEvent) => Effect.sync(() => watch(event)),
    events: Stream.empty,
  };
  const services = Layer.merge(Layer.succeed(Progress, watcher), RunFolder.layerMemory);
  await Effect.runPromise(Effect.provide(stage, services));
  return steps;
};

const stages = {
  pretrain: {
    shape: gpt2,
    targetModules: ["c_attn", "c_fc"],
    train: (model: Model) => {
      const [tokens, validation] = [Int32Array.from(rows(2).flat()), Int32Array.from(rows(3).flat())];
      return Effect.asVoid(pretrain({ model, tokens, validation, config, key: key(4) }));
    },
  },
  pretrainMasked: {
    shape: bert,
    targetModules: ["query", "value", "dense"],
    train: (model: Model) =>
      Effect.asVoid(
        pretrainMasked({ model, sequences: rows(2), validation: rows(3), mask: 0, config, key: key(4) }),
      ),
  },
};

it.each(Object.entries(stages))("%s trains an adapter alone", async (_, { shape, targetModules, train }) => {
  const base = initModel(shape, key(1));
  // Embeddings that stay as small as a fresh model's would leave an adapter nothing to say.
  for (const [name, param] of Object.entries(base.params))
    if (/wte|word_embeddings/.test(name)) tf.tidy(() => param.assign(tf.mul(param, 20)));
  const original = numbers(base);
  const lora = { rank: 4, alpha: 8, dropout: 0.1, targetModules };
  const adapted = addLora(base, lora, key(3));
  const before = tf.memory().numBytes;
  const steps = await run(train(adapted));
  expect(steps.at(-1)!.loss).toBeLessThan(0.9 * steps[0]!.loss);
  expect(numbers(base)).toEqual(original);
  // Held are the optimizer's two moments of the adapter.
  expect(steps.at(-1)!.bytes - before).toBe(2 * bytesOf(adapted));
  const other = addLora(base, { ...lora, dropout: 0 }, key(3));
  expect((await run(train(other)))[2]!.loss).not.toBe(steps[2]!.loss);
  for (const model of [other, adapted, base]) disposeModel(model);
});
