import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCheckpoint, loadScalarModel } from "./checkpoint.ts";
import { maskedTokenLogProbs, nextTokenLogProbs } from "./log_probs.ts";
import { logits } from "./logits.ts";
import { disposeModel, type Model } from "./model.ts";
import { disposeScalarModel, type ScalarModel, sequenceScores } from "./scalar_head.ts";
import { golden, goldenPath, goldenSequences, oneSequence } from "./testing/golden.ts";

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);

let model: Model;
let scorer: ScalarModel;
let tensorsBefore = 0;

beforeAll(async () => {
  await useBackend("cpu");
  tensorsBefore = tf.memory().numTensors;
  model = await Effect.runPromise(Effect.provide(loadCheckpoint(goldenPath("gpt2")), files));
  scorer = await Effect.runPromise(Effect.provide(loadScalarModel(goldenPath("gpt2_scalar")), files));
});

afterAll(() => {
  disposeModel(model);
  disposeScalarModel(scorer);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

/** The values of a tensor made by `f`, which reads a golden batch. Everything is freed. */
const valuesOf = async (
  padding: "left" | "right",
  f: (batch: ReturnType<typeof goldenSequences>) => tf.Tensor,
) => {
  const before = tf.memory().numTensors;
  const batch = goldenSequences(golden[padding]);
  const result = f(batch);
  const values = await result.data();
  tf.dispose([result, batch.ids, batch.segments, batch.positions]);
  expect(tf.memory().numTensors).toBe(before);
  return values;
};

const atRealTokens = (x: tf.Tensor3D, segments: tf.Tensor2D) =>
  tf.mul(x, tf.expandDims(tf.cast(segments, "float32"), 2));

describe.each(["right", "left"] as const)("a GPT-2 of transformers, padded on the %s", (padding) => {
  const expected = golden[padding];
  const check = (what: string, found: ArrayLike<number>, numbers: ReadonlyArray<number>) =>
    expectFidelity({
      formula: `gpt2: ${what}`,
      source: golden.source,
      error: relativeError(found, numbers),
      limit: 1e-5,
    });

  it("gives its logits without the causal mask", async () => {
    const bidirectional = { ...model, config: { ...model.config, architecture: "masked-lm" as const } };
    const found = await valuesOf(padding, (batch) =>
      tf.tidy(() => atRealTokens(logits(bidirectional, batch), batch.segments)),
    );
    check(`logits without the causal mask, padded ${padding}`, found, expected.maskedLogits);
  });

  it("gives its scores", async () => {
    const found = await valuesOf(padding, (batch) => sequenceScores(scorer, batch));
    check("scores of the sequence classifier", found, expected.scores);
  });
});

it("gives log-probs and entropies of the tempered logits", async () => {
  const before = tf.memory().numTensors;
  const temperature = 0.7;
  const batch = oneSequence([3, 7, 2, 9]);
  const { logProbs, entropy } = nextTokenLogProbs(model, batch, { temperature });
  const full = tf.tidy(() => tf.logSoftmax(tf.div(logits(model, batch), temperature)));
  const [found, entropies, all] = await Promise.all([logProbs.data(), entropy.data(), full.data()]);
  const vocab = model.config.vocabSize;
  [7, 2, 9].forEach((token, t) => {
    const row = Array.from(all.slice(t * vocab, (t + 1) * vocab));
    expect(found[t + 1]).toBeCloseTo(row[token]!, 5);
    expect(entropies[t + 1]).toBeCloseTo(-row.reduce((sum, value) => sum + Math.exp(value) * value, 0), 5);
  });
  expect([found[0], entropies[0]]).toEqual([0, 0]);
  tf.dispose([logProbs, entropy, full, batch.ids, batch.segments, batch.positions]);
  expect(tf.memory().numTensors).toBe(before);
});

it("judges the tokens behind a mask, each at its own place", async () => {
  const bidirectional = { ...model, config: { ...model.config, architecture: "masked-lm" as const } };
  const batch = oneSequence([3, 0, 2, 0]);
  const targets = tf.tensor2d([[3, 7, 2, 9]], [1, 4], "int32");
  const { logProbs, entropy } = maskedTokenLogProbs(bidirectional, batch, targets);
  const full = tf.tidy(() => tf.logSoftmax(logits(bidirectional, batch)));
  const [found, all] = await Promise.all([logProbs.data(), full.data()]);
  [3, 7, 2, 9].forEach((token, t) => {
    expect(found[t]).toBeCloseTo(all[t * model.config.vocabSize + token]!, 5);
  });
  expect(() => nextTokenLogProbs(bidirectional, batch)).toThrow(/causal/);
  tf.dispose([logProbs, entropy, full, targets, batch.ids, batch.segments, batch.positions]);
});
