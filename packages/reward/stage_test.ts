import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import type { EncodedDemonstration, EncodedRanking } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import {
  addLora,
  disposeModel,
  disposeScalarModel,
  initModel,
  initScalarModel,
  type Model,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RewardConfig } from "./config.ts";
import { overfitCheck } from "./overfit_check.ts";
import { score, scoreEpisodes } from "./score.ts";
import { type TrainRewardInput, trainReward } from "./train.ts";

const [eos, good, bad] = [0, 1, 2];
let policy: Model;

beforeAll(async () => {
  await useBackend("cpu");
  policy = initModel(
    { architecture: "gpt2", vocabSize: 16, contextLength: 16, layers: 1, width: 16, heads: 2 },
    key(1),
  );
});
afterAll(() => disposeModel(policy));

/** The labeler counts good words minus bad words; prompts differ in length. */
const rankings: ReadonlyArray<EncodedRanking & { labeler: string }> = Array.from({ length: 24 }, (_, i) => ({
  prompt: Array.from({ length: 1 + (i % 4) }, (_, j) => 3 + ((i + j) % 12)),
  responses: [
    [good, 5, good, eos],
    [7, bad, eos],
    [bad, 4, bad, bad, eos],
    [6 + (i % 5), good, eos],
  ],
  ranks: [1, 3, 4, 2],
  labeler: i % 2 === 0 ? "Ada" : "Bo",
}));
const demonstrations: ReadonlyArray<EncodedDemonstration> = rankings.map(({ prompt }) => ({
  prompt,
  response: [good, 9, eos],
}));

const input = (config: Partial<RewardConfig> = {}): TrainRewardInput => ({
  policy,
  rankings: rankings.slice(0, 16),
  validation: rankings.slice(16),
  demonstrations,
  config: RewardConfig.make({ epochs: 2, batchSize: 4, learningRate: 1e-2, ...config }),
  key: key(2),
});

/** Runs a stage; also returns the metrics of its steps. */
async function run<A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>) {
  const events: Array<ProgressEvent> = [];
  const watcher = Layer.succeed(Progress, {
    publish: (event) => Effect.sync(() => void events.push(event)),
    events: Stream.empty,
  });
  const layer = Layer.merge(watcher, RunFolder.layerMemory);
  const result = await Effect.runPromise(Effect.provide(stage, layer));
  return { result, metrics: events.flatMap((event) => (event._tag === "Step" ? [event.metrics] : [])) };
}

describe("trainReward", () => {
  it("learns the rankings, is calibrated, and scores demonstrations 0 on average", async () => {
    const before = tf.memory().numTensors;
    const { result, metrics } = await run(trainReward(input()));
    expect(metrics).toHaveLength(8);
    expect(metrics.at(-1)!.loss).toBeLessThan(metrics[0]!.loss! / 2);
    expect(result.accuracy.accuracy).toBe(1);
    expect(result.accuracy.byLabeler.Ada).toEqual({ accuracy: 1, pairs: 24 });
    expect(result.calibration.expectedCalibrationError).toBeLessThan(0.3);
    const scores = await Effect.runPromise(
      score(
        result.model,
        demonstrations.map(({ prompt, response }) => [...prompt, ...response]),
      ),
    );
    expect(scores.reduce((sum, x) => sum + x, 0) / scores.length).toBeCloseTo(0, 5);
    disposeScalarModel(result.model);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("gives the same numbers for the same key, and others for another", async () => {
    const once = await run(trainReward(input({ epochs: 1 })));
    const again = await run(trainReward(input({ epochs: 1 })));
    const other = await run(trainReward({ ...input({ epochs: 1 }), key: key(3) }));
    expect(again.metrics).toEqual(once.metrics);
    expect(other.metrics).not.toEqual(once.metrics);
    for (const { result } of [once, again, other]) disposeScalarModel(result.model);
  });

  it("does not depend on the size of micro-batches", async () => {
    const whole = await run(trainReward(input({ epochs: 1, microBatchSize: 4 })));
    const parts = await run(trainReward(input({ epochs: 1, microBatchSize: 3 })));
    parts.metrics.forEach((row, step) => {
      expect(row.loss).toBeCloseTo(whole.metrics[step]!.loss!, 4);
      expect(row.gradNorm).toBeCloseTo(whole.metrics[step]!.gradNorm!, 3);
      expect(row.accuracy).toBeCloseTo(whole.metrics[step]!.accuracy!, 5);
    });
    for (const { result } of [whole, parts]) disposeScalarModel(result.model);
  });

  it("stops at a loss that is not finite, with stage, step and metric, and frees everything", async () => {
    const broken = initModel(policy.config, key(1));
    const gain = broken.params["transformer.ln_f.weight"]!;
    tf.tidy(() => gain.assign(tf.fill(gain.shape, Number.NaN)));
    const before = tf.memory().numTensors;
    const failure = await run(Effect.flip(trainReward({ ...input(), policy: broken })));
    expect(failure.result).toMatchObject({ _tag: "NonFiniteLoss", stage: "reward", step: 1, metric: "loss" });
    expect(tf.memory().numTensors).toBe(before);
    disposeModel(broken);
  });

  it("names everything that is wrong with its input at once", async () => {
    const { result } = await run(
      Effect.flip(
        trainReward({
          ...input(),
          rankings: [
            {
              prompt: [3],
              responses: [
                [1, 0],
                [2, 0],
              ],
              ranks: [1],
            },
            {
              prompt: Array(15).fill(3),
              responses: [
                [1, 0],
                [2, 0],
              ],
              ranks: [1, 1],
            },
          ],
          demonstrations: [],
        }),
      ),
    );
    expect(result._tag === "InvalidInput" && result.problems.map(({ where }) => where)).toEqual([
      "rankings[0]",
      "rankings[1]",
      "rankings",
      "demonstrations",
    ]);
  });
});

describe("score", () => {
  it("does not change with the batch a sequence stands in, nor with its padding", async () => {
    const model = initScalarModel(initModel(policy.config, key(4)), key(5));
    const before = tf.memory().numTensors;
    const sequences = Array.from({ length: 40 }, (_, i) =>
      Array.from({ length: 1 + (i % 16) }, (_, j) => (i + j) % 16),
    );
    const together = await Effect.runPromise(score(model, sequences));
    for (const [i, sequence] of sequences.entries()) {
      const [alone] = await Effect.runPromise(score(model, [sequence]));
      expect(alone).toBeCloseTo(together[i]!, 5);
    }
    const reversed = await Effect.runPromise(score(model, sequences.toReversed()));
    reversed.reverse().forEach((value, i) => {
      expect(value).toBeCloseTo(together[i]!, 5);
    });
    expect(tf.memory().numTensors).toBe(before);
    disposeScalarModel(model);
  });

  it("scores episodes as their prompt and response end to end", async () => {
    const model = initScalarModel(initModel(policy.config, key(4)), key(5));
    const episodes = [
      { prompt: { id: "p", tokens: [3, 4] }, response: { tokens: [good, eos], finished: true } },
    ];
    expect(await Effect.runPromise(scoreEpisodes(model)(episodes))).toEqual(
      await Effect.runPromise(score(model, [[3, 4, good, eos]])),
    );
    expect(await Effect.runPromise(score(model, []))).toHaveLength(0);
    disposeScalarModel(model);
  });
});

describe("overfitCheck", () => {
  it("passes on pairs that can be learned by heart", async () => {
    const before = tf.memory().numTensors;
    const result = await Effect.runPromise(
      overfitCheck({ policy, rankings, key: key(6), learningRate: 1e-2 }),
    );
    expect(result).toMatchObject({ learned: true, accuracy: expect.closeTo(1) });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("reports a model that cannot learn: the same response preferred to itself", async () => {
    const stuck = rankings.map(({ prompt }) => ({
      prompt,
      responses: [
        [good, eos],
        [good, eos],
      ],
      ranks: [1, 2],
    }));
    const result = await Effect.runPromise(
      overfitCheck({ policy, rankings: stuck, key: key(6), maxSteps: 3 }),
    );
    expect(result).toMatchObject({ learned: false, steps: 3, accuracy: 0 });
  });
});

it("trains adapter and head alone on a policy with an adapter", async () => {
  const before = tf.memory().numTensors;
  const numbers = () => Object.values(policy.params).map((param) => Array.from(param.dataSync()));
  const original = numbers();
  const lora = { rank: 4, alpha: 8, dropout: 0, targetModules: ["c_attn", "c_fc"] };
  const adapted = addLora(policy, lora, key(3));
  const { result, metrics } = await run(trainReward({ ...input({ learningRate: 3e-2 }), policy: adapted }));
  expect(metrics.at(-1)!.loss).toBeLessThan(metrics[0]!.loss!);
  expect(Object.keys(result.model.params)).toEqual([
    ...Object.keys(adapted.params),
    "score.weight",
    "score.bias",
  ]);
  expect(numbers()).toEqual(original);
  disposeScalarModel(result.model);
  disposeModel(adapted);
  expect(tf.memory().numTensors).toBe(before);
});
