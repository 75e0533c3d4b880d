/**
 * No training stage runs a large tensor through a stock JavaScript kernel: one such call costs more than all native
 * kernels of the step. Rows are many and long enough here for tensors [batch, time] to count as large.
 */
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { Progress } from "../core/progress.ts";
import { Progress as SilentProgress } from "../core/progress.ts";
import { integers, key } from "../core/random.ts";
import { RunFolder } from "../core/run_folder.ts";
import { PpoConfig } from "../ppo/config.ts";
import { PretrainingBatches, Reference, Scorer } from "../ppo/services.ts";
import { disposeState, initState } from "../ppo/state.ts";
import { train as trainPpo } from "../ppo/train.ts";
import { PretrainConfig } from "../pretrain/config.ts";
import { pretrain } from "../pretrain/train.ts";
import { pretrainMasked } from "../pretrain/train_masked.ts";
import { RewardConfig } from "../reward/config.ts";
import { trainReward } from "../reward/train.ts";
import { SftConfig } from "../sft/config.ts";
import { finetune } from "../sft/train.ts";
import { useBackend } from "../tensor/backend.ts";
import { initModel } from "../transformer/init.ts";
import { cloneModel, disposeModel, type Model } from "../transformer/model.ts";
import { disposeScalarModel, initScalarModel } from "../transformer/scalar_head.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";

/** No multiple of 8: rows that fill the context stay inside it. */
const time = 77;
const [rows, vocab] = [64, 24];
let model: Model;

beforeAll(async () => {
  await useBackend("native");
});
beforeEach(() => {
  const shape = { vocabSize: vocab, contextLength: time, layers: 1, width: 16, heads: 2 };
  model = initModel({ architecture: "gpt2", ...shape }, key(1));
  resetFallbackCounts();
});
afterEach(() => {
  disposeModel(model);
  expect(fallbackCounts()).toEqual({});
});

const run = <A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>): Promise<A> =>
  Effect.runPromise(
    stage.pipe(Effect.provide(SilentProgress.layerSilent), Effect.provide(RunFolder.layerMemory)),
  );

const tokens = (seed: number, count: number) =>
  Array.from(integers(key(seed), count, vocab - 2), (id) => id + 2);
const eos = 1;

it("pretraining", async () => {
  const text = Int32Array.from(tokens(2, rows * time * 2));
  const config = PretrainConfig.make({ steps: 2, batchSize: rows, microBatchSize: rows });
  const trained = await run(pretrain({ model, tokens: text, validation: text, config, key: key(3) }));
  disposeModel(trained.model);
});

it("masked pretraining", async () => {
  const sequences = Array.from({ length: rows }, (_, i) => tokens(i, time));
  const config = PretrainConfig.make({ steps: 2, batchSize: rows, microBatchSize: rows });
  const masked = initModel({ ...model.config, architecture: "masked-lm" }, key(8));
  const input = { model: masked, sequences, validation: sequences, mask: 0, config, key: key(9) };
  const trained = await run(pretrainMasked(input));
  disposeModel(trained.model);
  disposeModel(masked);
});

it("supervised fine-tuning, with dropout", async () => {
  const demonstrations = Array.from({ length: rows }, (_, i) => ({
    prompt: tokens(i, 30),
    response: [...tokens(100 + i, time - 31), eos],
  }));
  const config = SftConfig.make({ epochs: 1, batchSize: rows, microBatchSize: rows, dropout: 0.1 });
  const input = { model, demonstrations, validation: demonstrations, config, key: key(4) };
  disposeModel((await run(finetune(input))).model);
});

it("reward training", async () => {
  const rankings = Array.from({ length: rows }, (_, i) => ({
    prompt: tokens(i, 40),
    responses: [30, 20, time - 41].map((length, j) => [...tokens(3 * i + j, length), eos]),
    ranks: [1, 3, 2],
  }));
  const demonstrations = rankings.map(({ prompt, responses }) => ({ prompt, response: responses[0]! }));
  const config = RewardConfig.make({ epochs: 1, batchSize: rows, microBatchSize: rows });
  const input = { policy: model, rankings, validation: rankings, demonstrations, config, key: key(5) };
  disposeScalarModel((await run(trainReward(input))).model);
});

it("PPO with pretraining gradients, in place and yet leaving reference and reward model alone", async () => {
  const rewardModel = initScalarModel(cloneModel(model), key(6));
  const numbersOf = (params: Model["params"]) =>
    Promise.all(Object.values(params).map((param) => param.data()));
  const before = [await numbersOf(model.params), await numbersOf(rewardModel.params)];
  const config = PpoConfig.make({
    iterations: 1,
    batchSize: rows,
    minibatchSize: rows,
    microBatchSize: rows,
    maxNewTokens: time - 8,
    warmupIterations: 0,
    ptxCoefficient: 1,
    ptxExamplesPerEpisode: 1,
  });
  const prompts = Array.from({ length: rows }, (_, i) => ({ id: `${i}`, tokens: tokens(i, 8) }));
  const texts = PretrainingBatches.fromRows(
    prompts.map((_, i) => ({ tokens: tokens(i, time) })),
    { padId: 0 },
  );
  const training = trainPpo({
    state: initState({ policy: model, rewardModel, config }),
    prompts,
    config,
    specials: { eos },
    key: key(7),
    decode: (ids) => ids.join(" "),
  });
  const state = await run(
    training.pipe(
      Effect.provideService(Reference, model),
      Effect.provideService(Scorer, (episodes) => Effect.succeed(new Float32Array(episodes.length))),
      Effect.provideService(PretrainingBatches, texts),
    ),
  );
  expect([await numbersOf(model.params), await numbersOf(rewardModel.params)]).toEqual(before);
  const [policy, average] = [
    await numbersOf(state.policy.params),
    await numbersOf(state.averagedPolicy.params),
  ];
  expect(policy).not.toEqual(before[0]);
  expect(average).not.toEqual(before[0]);
  expect(average).not.toEqual(policy);
  disposeState(state);
  disposeScalarModel(rewardModel);
  expect(tf.getBackend()).toBe("native");
});
