import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { integers, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { padRight } from "@rlhf/data";
import { useBackend } from "@rlhf/tensor/backend";
import { cloneModel, disposeModel, initModel, logits, type Model, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PretrainConfig } from "./config.ts";
import { crossEntropy } from "./cross_entropy.ts";
import { nextTokenLoss } from "./next_token.ts";
import { type PretrainInput, pretrain } from "./train.ts";
import { pretrainMasked } from "./train_masked.ts";

let model: Model;
let tensorsBefore: number;
const shape = { vocabSize: 12, contextLength: 12, layers: 1, width: 16, heads: 2 } as const;

beforeAll(async () => {
  await useBackend("cpu");
});
beforeEach(() => {
  tensorsBefore = tf.memory().numTensors;
  model = initModel({ architecture: "gpt2", ...shape }, key(1));
});
afterEach(() => {
  disposeModel(model);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

/** Counts upwards by ones from random starts: the next token is known except at a start. */
function countingText(seed: number): Int32Array {
  const starts = integers(key(seed), 24, 6);
  return Int32Array.from({ length: 24 * 6 }, (_, i) => starts[Math.floor(i / 6)]! + (i % 6));
}

const input = (config: Partial<PretrainConfig> = {}): PretrainInput => ({
  model,
  tokens: countingText(2),
  validation: countingText(3),
  config: PretrainConfig.make({
    steps: 30,
    batchSize: 4,
    learningRate: 1e-2,
    warmupSteps: 3,
    evaluateEvery: 12,
    ...config,
  }),
  key: key(4),
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
  const steps = events.flatMap((event) => (event._tag === "Step" ? [event] : []));
  return { result, steps, metrics: steps.map(({ metrics: { tokensPerSecond: _, ...rest } }) => rest) };
}

describe("nextTokenLoss", () => {
  it("divides by the tokens that count, or by those of the whole batch", async () => {
    const losses = tf.tidy(() => {
      const logProbs = tf.tensor2d([[-1, -2, -100]]);
      const lossMask = tf.tensor2d([[1, 1, 0]]);
      return tf.stack([
        nextTokenLoss({ logProbs, lossMask }),
        nextTokenLoss({ logProbs, lossMask, tokens: 6 }),
      ]);
    });
    expect(Array.from(await losses.data())).toEqual([1.5, 0.5]);
    losses.dispose();
  });
});

describe("crossEntropy", () => {
  it("is the mean −log softmax of the next tokens, weighted by tokens and not by batches", async () => {
    const rows = [
      [1, 2, 3, 4, 5, 6, 7],
      [8, 3],
      [4, 4, 4],
    ];
    const batches = [
      padRight(
        rows.slice(0, 1).map((tokens) => ({ tokens })),
        { padId: 0 },
      ),
      padRight(
        rows.slice(1).map((tokens) => ({ tokens })),
        { padId: 11 },
      ),
    ];
    let sum = 0;
    for (const tokens of rows) {
      const logProbs = tf.tidy(() =>
        tf.logSoftmax(logits(model, toSequences(padRight([{ tokens }], { padId: 0 })))),
      );
      const [table] = (await logProbs.array()) as Array<Array<Array<number>>>;
      for (let t = 1; t < tokens.length; t++) sum -= table![t - 1]![tokens[t]!]!;
      logProbs.dispose();
    }
    const measured = await Effect.runPromise(crossEntropy(model, batches));
    expect(measured.tokens).toBe(9);
    expect(measured.crossEntropy).toBeCloseTo(sum / 9, 5);
    expect(measured.perplexity).toBeCloseTo(Math.exp(sum / 9), 4);
  });
});

describe("pretrain", () => {
  it("learns to count, and measures the validation text at intervals and at the end", async () => {
    const { result, metrics, steps } = await run(pretrain(input()));
    expect(metrics[0]!.loss).toBeCloseTo(Math.log(12), 1);
    expect(metrics.at(-1)!.loss).toBeLessThan(metrics[0]!.loss! / 2);
    expect(metrics.flatMap((row, i) => (row.validationLoss === undefined ? [] : [i + 1]))).toEqual([
      12, 24, 30,
    ]);
    expect(result.validationLoss).toBe(metrics.at(-1)!.validationLoss);
    expect(metrics.at(-1)!.validationPerplexity).toBeCloseTo(Math.exp(result.validationLoss), 6);
    expect(steps[0]).toMatchObject({ stage: "pretrain", step: 1, total: 30, tokens: 48 });
    expect(steps[0]!.metrics.tokensPerSecond).toBeGreaterThan(0);
  });

  it("gives the same numbers for the same key, and others for another", async () => {
    const copies = [cloneModel(model), cloneModel(model), cloneModel(model)] as const;
    const once = await run(pretrain({ ...input({ steps: 4 }), model: copies[0] }));
    const again = await run(pretrain({ ...input({ steps: 4 }), model: copies[1] }));
    const other = await run(pretrain({ ...input({ steps: 4 }), model: copies[2], key: key(5) }));
    expect(again.metrics).toEqual(once.metrics);
    expect(other.metrics).not.toEqual(once.metrics);
    copies.forEach(disposeModel);
  });

  it("stops at a loss that is not finite, with stage, step and metric", async () => {
    const gain = model.params["transformer.ln_f.weight"]!;
    tf.tidy(() => gain.assign(tf.fill(gain.shape, Number.NaN)));
    const { result } = await run(Effect.flip(pretrain(input())));
    expect(result).toMatchObject({ _tag: "NonFiniteLoss", stage: "pretrain", step: 1, metric: "loss" });
  });

  it("refuses to start without text", async () => {
    const nothing = new Int32Array(1);
    const { result } = await run(Effect.flip(pretrain({ ...input(), tokens: nothing, validation: nothing })));
    expect(result._tag === "InvalidInput" && result.problems.map(({ where }) => where)).toEqual([
      "training text",
      "validation text",
    ]);
  });
});

describe("micro-batches", () => {
  const sequences = [
    [1, 2, 3],
    [4, 5, 6, 7, 8],
    [2, 4],
    [9, 8, 7, 6],
  ];

  it.each(["next-token", "masked"])("do not change a step of %s training", async (objective) => {
    const architecture = objective === "masked" ? "masked-lm" : "gpt2";
    const train = async (microBatchSize: number) => {
      const trained = initModel({ architecture, ...shape }, key(1));
      const config = input({ steps: 3, microBatchSize }).config;
      const stage =
        objective === "masked"
          ? pretrainMasked({ model: trained, sequences, validation: sequences, mask: 0, config, key: key(6) })
          : pretrain({ ...input(), config, model: trained });
      const { metrics } = await run(stage);
      disposeModel(trained);
      return metrics;
    };
    const whole = await train(4);
    const parts = await train(3);
    expect(parts).toHaveLength(3);
    for (const [step, row] of parts.entries()) {
      expect(row.loss).toBeCloseTo(whole[step]!.loss!, 4);
      expect(row.gradNorm).toBeCloseTo(whole[step]!.gradNorm!, 3);
    }
    expect(parts[2]!.validationLoss).toBeCloseTo(whole[2]!.validationLoss!, 4);
  });
});
