import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { adaptiveKl, fixedKl, type KlController, updateKlController } from "./controller.ts";
import { k1, k2, k3 } from "./estimators.ts";
import { penalizedRewards } from "./penalty.ts";

const golden = JSON.parse(readFileSync(new URL("golden/kl.json", import.meta.url), "utf8"));

beforeAll(() => useBackend("cpu"));

const close = (formula: string, actual: tf.Tensor, expected: Array<Array<number>>) => {
  const error = relativeError(actual.dataSync(), expected.flat());
  expectFidelity({ formula, source: golden.source, error, limit: 1e-5 });
};

describe("estimators", () => {
  it.each([
    ["k1", k1],
    ["k2", k2],
    ["k3", k3],
  ] as const)("%s has the reference's values and gradient", (name, estimator) => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const refLogProbs = tf.tensor(golden.refLogProbs);
      const f = (logProbs: tf.Tensor) => estimator({ logProbs, refLogProbs });
      const logProbs = tf.tensor(golden.logProbs);
      close(`${name}: values`, f(logProbs), golden[name].values);
      close(`${name}: gradient`, tf.grad(f)(logProbs, tf.tensor(golden.weights)), golden[name].gradient);
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("k2 and k3 are never negative, all are 0 for equal distributions", () => {
    tf.tidy(() => {
      const logProbs = tf.tensor(golden.logProbs);
      const refLogProbs = tf.tensor(golden.refLogProbs);
      for (const estimator of [k2, k3]) {
        expect(tf.min(estimator({ logProbs, refLogProbs })).dataSync()[0]).toBeGreaterThanOrEqual(0);
      }
      for (const estimator of [k1, k2, k3]) {
        expect(tf.sum(tf.abs(estimator({ logProbs, refLogProbs: logProbs }))).dataSync()[0]).toBe(0);
      }
    });
  });

  it("k1 and k3 have the true KL as their mean, k1 with some negative tokens", () => {
    // Three outcomes: the expectation is a sum over them.
    const p = [0.7, 0.2, 0.1];
    const q = [0.3, 0.3, 0.4];
    const kl = p.reduce((sum, pi, i) => sum + pi * Math.log(pi / q[i]!), 0);
    tf.tidy(() => {
      const pair = { logProbs: tf.log(tf.tensor(p)), refLogProbs: tf.log(tf.tensor(q)) };
      for (const estimator of [k1, k3]) {
        expect(tf.sum(tf.mul(estimator(pair), p)).dataSync()[0]).toBeCloseTo(kl, 6);
      }
      expect(tf.min(k1(pair)).dataSync()[0]).toBeLessThan(0);
    });
  });

  it("refuses shapes that differ", () => {
    expect(() => k1({ logProbs: tf.zeros([2, 3]), refLogProbs: tf.zeros([2, 4]) })).toThrow(
      "refLogProbs must match logProbs [2, 3], got [2, 4]",
    );
  });
});

describe("penalizedRewards", () => {
  const inputs = () => ({
    logProbs: tf.tensor2d(golden.logProbs),
    refLogProbs: tf.tensor2d(golden.refLogProbs),
    scores: tf.tensor1d(golden.scores),
    mask: tf.tensor2d(golden.mask),
    klCoefficient: golden.klCoefficient,
  });

  it("equals the reference: signed KL on every token, the score on the last real one", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const given = inputs();
      close("rewards with the penalty: values", penalizedRewards(given), golden.rewards.values);
      const f = (logProbs: tf.Tensor) => penalizedRewards({ ...given, logProbs: logProbs as tf.Tensor2D });
      const gradient = tf.grad(f)(given.logProbs, tf.tensor(golden.weights));
      close("rewards with the penalty: gradient", gradient, golden.rewards.gradient);
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("sums to score − β · KL, whatever the padding", () => {
    tf.tidy(() => {
      const { logProbs, refLogProbs, scores, mask, klCoefficient } = inputs();
      const pad = (x: tf.Tensor2D, value: number) =>
        tf.pad(
          x,
          [
            [0, 0],
            [0, 3],
          ],
          value,
        ) as tf.Tensor2D;
      const rewards = penalizedRewards({
        logProbs: pad(logProbs, -99),
        refLogProbs: pad(refLogProbs, 7),
        scores,
        mask: pad(mask, 0),
        klCoefficient,
      });
      const kl = tf.sum(tf.mul(tf.sub(logProbs, refLogProbs), mask), 1);
      const difference = tf.sub(tf.sum(rewards, 1), tf.sub(scores, tf.mul(kl, klCoefficient)));
      expect(tf.max(tf.abs(difference)).dataSync()[0]).toBeLessThan(1e-5);
    });
  });

  it("refuses scores of another batch", () => {
    expect(() => penalizedRewards({ ...inputs(), scores: tf.zeros([3]) })).toThrow("Cannot penalize rewards");
  });
});

describe("controllers", () => {
  it("the adaptive one moves as in the reference", () => {
    let controller: KlController = adaptiveKl();
    for (const { kl, episodes, coefficient } of golden.controller) {
      controller = updateKlController(controller, { kl, episodes });
      expectFidelity({
        formula: "adaptive controller: coefficients of six updates",
        source: golden.source,
        error: relativeError([controller.coefficient], [coefficient]),
        limit: 1e-12,
      });
    }
  });

  it("the fixed one does not move", () => {
    expect(updateKlController(fixedKl(0.02), { kl: 100, episodes: 512 })).toEqual(fixedKl(0.02));
  });

  it("refuses a target that is not positive", () => {
    expect(() => adaptiveKl({ target: 0 })).toThrow("target and horizon must be above 0");
  });
});
