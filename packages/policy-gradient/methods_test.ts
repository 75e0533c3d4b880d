import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { groupAdvantages } from "./group_advantages.ts";
import { grpoLoss, type TokenWeight } from "./grpo_loss.ts";
import { leaveOneOut } from "./leave_one_out.ts";
import { reinforceLoss } from "./reinforce_loss.ts";
import { sequenceSurrogate } from "./sequence_surrogate.ts";

const golden = JSON.parse(readFileSync(new URL("golden/methods.json", import.meta.url), "utf8"));
const { clipRange, klCoefficient, groupSize, maxLength } = golden;

beforeAll(() => useBackend("cpu"));

const inputs = (advantages: "leaveOneOut" | "deviation") => ({
  logProbs: tf.tensor2d(golden.logProbs),
  oldLogProbs: tf.tensor2d(golden.oldLogProbs),
  refLogProbs: tf.tensor2d(golden.refLogProbs),
  mask: tf.tensor2d(golden.mask),
  advantages: tf.tensor1d(golden.advantages[advantages]),
});
const scalar = (x: tf.Tensor) => x.dataSync()[0]!;
const close = (actual: tf.Tensor, expected: ReadonlyArray<number>, digits = 5) => {
  const values = actual.dataSync();
  expect(values).toHaveLength(expected.length);
  expected.forEach((value, i) => {
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
const gradientOf = (loss: (logProbs: tf.Tensor2D) => tf.Scalar) =>
  tf.grad((x) => loss(x as tf.Tensor2D))(tf.tensor2d(golden.logProbs));

describe("advantages", () => {
  const rewards = () => tf.tensor1d(golden.rewards);

  it("are the reference's", () => {
    tf.tidy(() => {
      for (const [formula, name, advantages] of [
        ["advantages of RLOO", "leaveOneOut", leaveOneOut],
        ["advantages of GRPO", "deviation", (x) => groupAdvantages({ ...x, scale: "deviation" })],
        ["advantages of Dr. GRPO", "none", (x) => groupAdvantages({ ...x, scale: "none" })],
      ] satisfies Array<[string, string, typeof leaveOneOut]>) {
        const f = (x: tf.Tensor) => advantages({ rewards: x as tf.Tensor1D, groupSize });
        check(`${formula}: values`, f(rewards()), golden.advantages[name]);
        const gradient = tf.grad(f)(rewards(), tf.tensor1d(golden.weights));
        check(`${formula}: gradient`, gradient, golden.advantageGradients[name]);
      }
    });
  });

  it("sum to 0 in every group, whatever is added to its rewards", () => {
    tf.tidy(() => {
      const shifted = tf.add(rewards(), tf.tensor1d([5, 5, 5, -3, -3, -3])) as tf.Tensor1D;
      for (const of of [
        (r: tf.Tensor1D) => leaveOneOut({ rewards: r, groupSize }),
        (r: tf.Tensor1D) => groupAdvantages({ rewards: r, groupSize, scale: "deviation" }),
      ]) {
        close(of(shifted), [...of(rewards()).dataSync()], 4);
        close(tf.sum(tf.reshape(of(shifted), [-1, groupSize]), 1), [0, 0], 4);
      }
    });
  });

  it("are 0 where all responses to a prompt score alike", () => {
    tf.tidy(() => {
      const alike = tf.ones([groupSize]) as tf.Tensor1D;
      close(groupAdvantages({ rewards: alike, groupSize, scale: "deviation" }), [0, 0, 0]);
    });
  });

  it("refuse a batch that is not made of groups", () => {
    tf.tidy(() => {
      expect(() => leaveOneOut({ rewards: rewards(), groupSize: 4 })).toThrow(
        "groupSize must be an integer of at least 2 that divides the rewards [6], got 4",
      );
      expect(() => leaveOneOut({ rewards: rewards(), groupSize: 1 })).toThrow("at least 2");
    });
  });
});

describe("the loss of REINFORCE", () => {
  it("has the reference's value and gradient", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const given = inputs("leaveOneOut");
      check("REINFORCE: loss", reinforceLoss(given), [golden.reinforce.loss]);
      check(
        "REINFORCE: gradient",
        gradientOf((logProbs) => reinforceLoss({ ...given, logProbs })),
        golden.reinforce.gradient.flat(),
      );
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("the sequence surrogate of RLOO", () => {
  it("has the reference's value, gradient and clip fraction", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const given = { ...inputs("leaveOneOut"), clipRange };
      const { loss, clipFraction } = sequenceSurrogate(given);
      check("RLOO: loss", loss, [golden.rloo.loss]);
      check("RLOO: clip fraction", clipFraction, [golden.rloo.metrics[0]]);
      check(
        "RLOO: gradient",
        gradientOf((logProbs) => sequenceSurrogate({ ...given, logProbs }).loss),
        golden.rloo.gradient.flat(),
      );
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("has REINFORCE's gradient at ratio 1", () => {
    tf.tidy(() => {
      const given = { ...inputs("leaveOneOut"), oldLogProbs: tf.tensor2d(golden.logProbs), clipRange };
      close(
        gradientOf((logProbs) => sequenceSurrogate({ ...given, logProbs }).loss),
        golden.reinforce.gradient.flat(),
      );
    });
  });
});

describe("the loss of GRPO", () => {
  const given = (tokenWeight: TokenWeight) => ({
    ...inputs("deviation"),
    clipRange,
    klCoefficient,
    tokenWeight,
    maxLength,
  });

  it.each(["sequence", "token", "constant"] as const)(
    "has the reference's value and gradient: %s",
    (weight) => {
      const before = tf.memory().numTensors;
      tf.tidy(() => {
        const options = given(weight);
        const { loss, lossKl, clipFraction } = grpoLoss(options);
        const expected = golden.grpo[weight];
        check(`GRPO, weight by ${weight}: loss`, loss, [expected.loss]);
        check(`GRPO, weight by ${weight}: KL`, lossKl, [expected.metrics[0]]);
        check(`GRPO, weight by ${weight}: clip fraction`, clipFraction, [expected.metrics[1]]);
        check(
          `GRPO, weight by ${weight}: gradient`,
          gradientOf((logProbs) => grpoLoss({ ...options, logProbs }).loss),
          expected.gradient.flat(),
        );
      });
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  it.each(["sequence", "token", "constant"] as const)("is the sum of its micro-batches: %s", (weight) => {
    tf.tidy(() => {
      const { logProbs, oldLogProbs, refLogProbs, mask, advantages, ...options } = given(weight);
      const tensors = { logProbs, oldLogProbs, refLogProbs, mask, advantages };
      const whole = { sequences: 6, tokens: golden.mask.flat().filter((m: number) => m === 1).length };
      const part = (from: number, count: number) => {
        const rows = Object.entries<tf.Tensor>(tensors).map(([name, x]) => [name, tf.slice(x, from, count)]);
        return scalar(grpoLoss({ ...(Object.fromEntries(rows) as typeof tensors), ...options, whole }).loss);
      };
      expect(part(0, 4) + part(4, 2)).toBeCloseTo(golden.grpo[weight].loss, 5);
    });
  });

  it("does not change with padding, nor with what stands in it", () => {
    tf.tidy(() => {
      const { advantages, ...options } = given("constant");
      const pad = (x: tf.Tensor2D, value: number) => tf.concat([x, tf.fill([6, 3], value)], 1) as tf.Tensor2D;
      const { loss, lossKl } = grpoLoss({
        ...options,
        advantages,
        logProbs: pad(options.logProbs, 300),
        oldLogProbs: pad(options.oldLogProbs, -300),
        refLogProbs: pad(options.refLogProbs, -300),
        mask: pad(options.mask, 0),
      });
      expect(scalar(loss)).toBeCloseTo(golden.grpo.constant.loss, 5);
      expect(scalar(lossKl)).toBeCloseTo(golden.grpo.constant.metrics[0], 5);
    });
  });

  it("refuses shapes that do not agree", () => {
    tf.tidy(() => {
      const options = { ...given("token"), advantages: tf.zeros([5]) as tf.Tensor1D };
      expect(() => grpoLoss(options)).toThrow("advantages must be [6], one a sequence, got [5]");
    });
  });
});
