import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { clippedSurrogate } from "./clipped_surrogate.ts";

const golden = JSON.parse(readFileSync(new URL("golden/clipped_surrogate.json", import.meta.url), "utf8"));

beforeAll(() => useBackend("cpu"));

const inputs = () => ({
  logProbs: tf.tensor2d(golden.logProbs),
  oldLogProbs: tf.tensor2d(golden.oldLogProbs),
  advantages: tf.tensor2d(golden.advantages),
  mask: tf.tensor2d(golden.mask),
  clipRange: golden.clipRange,
});
const scalar = (x: tf.Tensor) => x.dataSync()[0]!;
const check = (what: string, found: tf.Tensor, expected: ReadonlyArray<number>) =>
  expectFidelity({
    formula: `clipped surrogate: ${what}`,
    source: golden.source,
    error: relativeError(found.dataSync(), expected),
    limit: 1e-5,
  });

it("has the reference's loss, gradient and statistics", () => {
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const given = inputs();
    const { loss, clipFraction, approxKl, ratio } = clippedSurrogate(given);
    check("loss", loss, [golden.loss]);
    check("clip fraction", clipFraction, [golden.clipFraction]);
    check("approximate KL", approxKl, [golden.approxKl]);
    check("ratio", ratio, golden.ratio.flat());
    const gradient = tf.grad(
      (logProbs) => clippedSurrogate({ ...given, logProbs: logProbs as tf.Tensor2D }).loss,
    );
    check("gradient", gradient(given.logProbs), golden.gradient.flat());
  });
  expect(tf.memory().numTensors).toBe(before);
});

it("leaves the clip idle at ratio 1: the gradient is that of REINFORCE with these advantages", () => {
  tf.tidy(() => {
    const given = { ...inputs(), oldLogProbs: tf.tensor2d(golden.logProbs) };
    const { clipFraction, approxKl, ratio } = clippedSurrogate(given);
    expect([scalar(clipFraction), scalar(approxKl)]).toEqual([0, 0]);
    expect(new Set(ratio.dataSync())).toEqual(new Set([1]));
    const gradient = tf.grad(
      (logProbs) => clippedSurrogate({ ...given, logProbs: logProbs as tf.Tensor2D }).loss,
    )(given.logProbs);
    const expected = tf.div(tf.mul(tf.neg(given.advantages), given.mask), tf.sum(given.mask));
    expect(relativeError(gradient.dataSync(), expected.dataSync())).toBeLessThan(1e-5);
  });
});

it("does not change with padding, nor with what stands in it", () => {
  tf.tidy(() => {
    const given = inputs();
    const pad = (x: tf.Tensor2D, value: number) => tf.concat([x, tf.fill([4, 3], value)], 1) as tf.Tensor2D;
    const padded = clippedSurrogate({
      logProbs: pad(given.logProbs, 500),
      oldLogProbs: pad(given.oldLogProbs, -500),
      advantages: pad(given.advantages, 9),
      mask: pad(given.mask, 0),
      clipRange: given.clipRange,
    });
    expect(scalar(padded.loss)).toBeCloseTo(golden.loss, 6);
    expect(scalar(padded.approxKl)).toBeCloseTo(golden.approxKl, 6);
  });
});

it("refuses shapes that differ", () => {
  expect(() => clippedSurrogate({ ...inputs(), advantages: tf.zeros([4, 7]) })).toThrow(
    "advantages must match logProbs [4, 6], got [4, 7]",
  );
});
