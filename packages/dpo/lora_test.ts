import { type Episode, Reference, Scorer } from "@rlhf/bandit-env";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { fold, integers, key } from "@rlhf/core/random";
import type { EncodedRanking } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { addLora, disposeModel, initModel, type Model, withoutAdapter } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DpoConfig, OnlineDpoConfig } from "./config.ts";
import { disposeState, initState, trainOnlineDpo } from "./online.ts";
import { trainDpo } from "./train.ts";

const root = key(31);
const [eos, wanted] = [1, 3];

let tensors = 0;
let base: Model;
let policy: Model;
beforeEach(async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
  const shape = { vocabSize: 12, contextLength: 16, layers: 1, width: 16, heads: 2 };
  base = initModel({ architecture: "gpt2", ...shape }, fold(root, "base"));
  // Embeddings that stay as small as a fresh model's would leave an adapter nothing to say.
  const embedding = base.params["transformer.wte.weight"]!;
  tf.tidy(() => embedding.assign(tf.mul(embedding, 5)));
  const lora = { rank: 4, alpha: 8, dropout: 0.1, targetModules: ["c_attn", "c_fc"] };
  policy = addLora(base, lora, fold(root, "lora"));
});
afterEach(() => {
  for (const model of [policy, base]) disposeModel(model);
  expect(tf.memory().numTensors).toBe(tensors);
});

const countWanted = (tokens: ReadonlyArray<number>) => tokens.filter((token) => token === wanted).length;
const rankings = (name: string, count: number): Array<EncodedRanking> =>
  Array.from({ length: count }, (_, i) => {
    const from = fold(fold(root, name), i);
    const responses = [0, 1, 2].map((j) => [...integers(fold(from, j), 4, 4)].map((t) => t + 2).concat(eos));
    const ranks = responses.map(
      (one) => 1 + responses.filter((o) => countWanted(o) > countWanted(one)).length,
    );
    return { prompt: [4 + (i % 6), 5], responses, ranks };
  });
const share = (episodes: ReadonlyArray<Episode>) =>
  Effect.succeed(
    Float32Array.from(episodes, ({ response: { tokens } }) => countWanted(tokens) / tokens.length),
  );

const bytesOf = ({ params }: Pick<Model, "params">) =>
  Object.values(params).reduce((sum, { size }) => sum + 4 * size, 0);
const numbers = ({ params }: Pick<Model, "params">) =>
  Object.values(params).map((param) => Array.from(param.dataSync()));

/** The metrics of the steps, and the most bytes that are held between them. */
const run = async <A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>) => {
  const metrics: Array<Readonly<Record<string, number>>> = [];
  let bytes = 0;
  const watch = (event: ProgressEvent) => {
    if (event._tag !== "Step" || event.stage.startsWith("dpo.")) return; // what comes before training
    metrics.push(event.metrics);
    bytes = Math.max(bytes, tf.memory().numBytes);
  };
  const watcher = {
    publish: (event: ProgressEvent) => Effect.sync(() => watch(event)),
    events: Stream.empty,
  };
  const services = Layer.merge(Layer.succeed(Progress, watcher), RunFolder.layerMemory);
  return { result: await Effect.runPromise(Effect.provide(stage, services)), metrics, bytes: () => bytes };
};

it("DPO trains an adapter alone against the base, of which there is no second copy", async () => {
  const original = [numbers(base), numbers(policy)];
  const config = DpoConfig.make({ epochs: 3, batchSize: 12, microBatchSize: 12, learningRate: 2e-2 });
  const before = tf.memory().numBytes;
  const { result, metrics, bytes } = await run(
    trainDpo({
      policy,
      rankings: rankings("training", 72),
      validation: rankings("validation", 32),
      config,
      key: root,
    }),
  );
  // A fresh adapter changes nothing: the policy at the start is the base below it.
  expect(metrics[0]!.chosenReward).toBe(0);
  expect(metrics[0]!.loss).toBeCloseTo(Math.log(2), 6);
  expect(result.accuracy.accuracy).toBeGreaterThan(0.75);
  // The trained copy of the adapter, and its two moments.
  expect(bytes() - before).toBe(3 * bytesOf(policy));
  expect(Object.keys(result.model.params)).toEqual(Object.keys(policy.params));
  expect([numbers(base), numbers(policy)]).toEqual(original);
  disposeModel(result.model);
});

it("online DPO does so too", async () => {
  const original = numbers(base);
  const config = OnlineDpoConfig.make({
    iterations: 8,
    batchSize: 32,
    responsesPerPrompt: 4,
    minibatchSize: 4,
    maxNewTokens: 6,
    missingEosPenalty: 0,
    learningRate: 2e-2,
    warmupIterations: 2,
  });
  const before = tf.memory().numBytes;
  const state = initState(policy);
  const { metrics, bytes } = await run(
    trainOnlineDpo({
      state,
      prompts: Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5, 6] })),
      config,
      specials: { eos },
      key: root,
      decode: (tokens) => tokens.join(" "),
    }).pipe(Effect.provideService(Reference, withoutAdapter(policy)), Effect.provideService(Scorer, share)),
  );
  expect(metrics[0]!.kl).toBe(0);
  expect(metrics.at(-1)!.score).toBeGreaterThan(1.5 * metrics[0]!.score!);
  expect(bytes() - before).toBe(3 * bytesOf(policy));
  expect(numbers(base)).toEqual(original);
  disposeState(state);
});
