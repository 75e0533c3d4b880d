import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { maskedWhiten } from "@rlhf/tensor";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { explainedVariance } from "./explained_variance.ts";
import { gae } from "./gae.ts";
import { clippedValueLoss } from "./value_loss.ts";

const golden = JSON.parse(readFileSync(new URL("golden/estimation.json", import.meta.url), "utf8"));

beforeAll(() => useBackend("cpu"));

const inputs = () => ({
  rewards: tf.tensor2d(golden.rewards),
  values: tf.tensor2d(golden.oldValues),
  mask: tf.tensor2d(golden.mask),
  gamma: golden.gamma,
  lambda: golden.lambda,
});
const scalar = (x: tf.Tensor) => x.dataSync()[0]!;
const close = (actual: tf.Tensor, expected: ReadonlyArray<ReadonlyArray<number>>, digits = 5) => {
  const values = actual.dataSync();
  expected.flat().forEach((value, i) => {
    expect(values[i]).toBeCloseTo(value, digits);
  });
};
const check = (formula: string, found: tf.Tensor, expected: ReadonlyArray<number>) =>
  expectFidelity({
    formula,
    source: golden.source,
    error: relativeError(found.dataSync(), expected),
    limit: 1e-5,
  });
const pad = (x: tf.Tensor2D, value: number) => tf.concat([x, tf.fill([4, 3], value)], 1) as tf.Tensor2D;

describe("gae", () => {
  it("has the reference's advantages and returns", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const { advantages, returns } = gae(inputs());
      check("GAE: advantages", advantages, golden.advantages.flat());
      check("GAE: returns", returns, golden.returns.flat());
      for (const [name, expected] of [
        ["advantages", golden.advantageGradients],
        ["returns", golden.returnGradients],
      ] as const) {
        const f = (rewards: tf.Tensor, values: tf.Tensor) =>
          gae({ ...inputs(), rewards: rewards as tf.Tensor2D, values: values as tf.Tensor2D })[name];
        const [byRewards, byValues] = tf.grads(f)(
          [inputs().rewards, inputs().values],
          tf.tensor2d(golden.weights),
        );
        check(`GAE: gradient of the ${name} by rewards`, byRewards!, expected[0].flat());
        check(`GAE: gradient of the ${name} by values`, byValues!, expected[1].flat());
      }
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("gives Monte-Carlo returns at λ = 1, whatever the values", () => {
    tf.tidy(() => {
      close(gae({ ...inputs(), lambda: 1 }).returns, golden.monteCarloReturns);
      const others = tf.mul(inputs().values, -3) as tf.Tensor2D;
      close(gae({ ...inputs(), values: others, lambda: 1 }).returns, golden.monteCarloReturns, 4);
    });
  });

  it("gives the one-step error at λ = 0", () => {
    tf.tidy(() => {
      const { rewards, values } = inputs();
      const { advantages } = gae({ ...inputs(), lambda: 0 });
      const [r, v, a] = [rewards, values, advantages].map((x) => x.dataSync());
      expect(a![0]).toBeCloseTo(r![0]! + golden.gamma * v![1]! - v![0]!, 5);
      expect(a![5]).toBeCloseTo(r![5]! - v![5]!, 5); // the last token of a full row
    });
  });

  it("does not change with padding, nor with what stands in it", () => {
    tf.tidy(() => {
      const { rewards, values, mask, gamma, lambda } = inputs();
      const { advantages } = gae({
        rewards: pad(rewards, 50),
        values: pad(values, -50),
        mask: pad(mask, 0),
        gamma,
        lambda,
      });
      close(tf.slice(advantages, [0, 0], [4, 6]), golden.advantages);
      expect(scalar(tf.sum(tf.abs(tf.slice(advantages, [0, 6], [4, 3]))))).toBe(0);
    });
  });

  it("refuses shapes that differ", () => {
    expect(() => gae({ ...inputs(), values: tf.zeros([4, 7]) })).toThrow(
      "Cannot estimate advantages: values must match rewards [4, 6], got [4, 7]",
    );
  });
});

describe("whitening", () => {
  it.each([
    ["masked whitening", true, golden.advantages, "whitenedAdvantages"],
    ["masked whitening without mean shift", false, golden.rewards, "whitenedRewards"],
  ] as const)("%s has the reference's values and gradient", (formula, center, input, name) => {
    tf.tidy(() => {
      const f = (x: tf.Tensor) => maskedWhiten(x, inputs().mask, { center });
      check(`${formula}: values`, f(tf.tensor2d(input)), golden[name].flat());
      const gradient = tf.grad(f)(tf.tensor2d(input), tf.tensor2d(golden.weights));
      check(`${formula}: gradient`, gradient, golden[`${name}Gradient`].flat());
    });
  });
});

describe("clippedValueLoss", () => {
  const losses = () => ({
    values: tf.tensor2d(golden.values),
    oldValues: tf.tensor2d(golden.oldValues),
    returns: tf.tensor2d(golden.returns),
    mask: tf.tensor2d(golden.mask),
    clipRange: golden.clipRange,
  });

  it("has the reference's loss, gradient and clip fraction", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const { loss, clipFraction } = clippedValueLoss(losses());
      check("clipped value loss: loss", loss, [golden.valueLoss]);
      check("clipped value loss: clip fraction", clipFraction, [golden.valueClipFraction]);
      const gradient = tf.grad(
        (values) => clippedValueLoss({ ...losses(), values: values as tf.Tensor2D }).loss,
      );
      check("clipped value loss: gradient", gradient(losses().values), golden.valueGradient.flat());
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("does not change with padding, nor with what stands in it", () => {
    tf.tidy(() => {
      const { values, oldValues, returns, mask, clipRange } = losses();
      const { loss } = clippedValueLoss({
        values: pad(values, 50),
        oldValues: pad(oldValues, -50),
        returns: pad(returns, 3),
        mask: pad(mask, 0),
        clipRange,
      });
      expect(scalar(loss)).toBeCloseTo(golden.valueLoss, 5);
    });
  });
});

describe("explainedVariance", () => {
  it("has the reference's value, and is 1 for perfect values", () => {
    tf.tidy(() => {
      const returns = tf.tensor2d(golden.returns) as tf.Tensor2D;
      const { values, mask } = inputs();
      check("explained variance", explainedVariance({ values, returns, mask }), [golden.explainedVariance]);
      expect(scalar(explainedVariance({ values: returns, returns, mask }))).toBeCloseTo(1, 6);
    });
  });
});
