import { readFileSync } from "node:fs";
import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { dpoLoss } from "./dpo_loss.ts";
import { ipoLoss } from "./ipo_loss.ts";
import { ktoLoss } from "./kto_loss.ts";
import { orpoLoss } from "./orpo_loss.ts";
import { robustDpoLoss } from "./robust_dpo_loss.ts";
import { simpoLoss } from "./simpo_loss.ts";

const golden = JSON.parse(readFileSync(new URL("golden/losses.json", import.meta.url), "utf8"));
const { beta, labelSmoothing, kl, gamma, lambda } = golden;

beforeAll(() => useBackend("cpu"));

type OfPair = (chosen: tf.Tensor1D, rejected: tf.Tensor1D) => tf.Tensor1D;
const withReference = (chosen: tf.Tensor1D, rejected: tf.Tensor1D) => ({
  chosen,
  rejected,
  refChosen: tf.tensor1d(golden.refChosen),
  refRejected: tf.tensor1d(golden.refRejected),
});
const kto: OfPair = (chosen, rejected) => {
  const pairs = withReference(chosen, rejected);
  return ktoLoss({
    logProbs: tf.concat([chosen, rejected]),
    refLogProbs: tf.concat([pairs.refChosen, pairs.refRejected]),
    desirable: tf.tensor1d([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]),
    kl,
    beta,
    desirableWeight: 1,
    undesirableWeight: 1,
  });
};
const losses: ReadonlyArray<
  readonly [name: string, formula: string, inputs: "sums" | "means", loss: OfPair]
> = [
  ["dpo", "DPO", "sums", (chosen, rejected) => dpoLoss(withReference(chosen, rejected), { beta })],
  [
    "conservativeDpo",
    "DPO with label smoothing",
    "sums",
    (chosen, rejected) => dpoLoss(withReference(chosen, rejected), { beta, labelSmoothing }),
  ],
  [
    "robustDpo",
    "robust DPO",
    "sums",
    (chosen, rejected) => robustDpoLoss(withReference(chosen, rejected), { beta, flipRate: labelSmoothing }),
  ],
  ["ipo", "IPO", "sums", (chosen, rejected) => ipoLoss(withReference(chosen, rejected), { tau: beta })],
  ["kto", "KTO", "sums", kto],
  ["simpo", "SimPO", "means", (chosen, rejected) => simpoLoss({ chosen, rejected, beta, gamma })],
  ["orpo", "ORPO", "means", (chosen, rejected) => orpoLoss({ chosen, rejected, lambda })],
];

const check = (formula: string, found: tf.Tensor, expected: ReadonlyArray<number>) =>
  expectFidelity({
    formula,
    source: golden.source,
    error: relativeError(found.dataSync(), expected),
    limit: 1e-5,
  });

it.each(losses)("%s has the reference's loss and gradients", (name, formula, inputs, loss) => {
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const given =
      inputs === "sums" ? [golden.chosen, golden.rejected] : [golden.meanChosen, golden.meanRejected];
    const [chosen, rejected] = given.map((values) => tf.tensor1d(values)) as [tf.Tensor1D, tf.Tensor1D];
    const mean = (a: tf.Tensor, b: tf.Tensor) =>
      tf.mean(loss(a as tf.Tensor1D, b as tf.Tensor1D)) as tf.Scalar;
    check(`${formula}: loss`, mean(chosen, rejected), [golden[name].loss]);
    tf.grads(mean)([chosen, rejected]).forEach((gradient, side) => {
      check(`${formula}: gradients`, gradient, golden[name].gradients[side]);
    });
  });
  expect(tf.memory().numTensors).toBe(before);
});

describe("losses", () => {
  const pair = (lead: number) => ({
    chosen: tf.tensor1d([lead]),
    rejected: tf.tensor1d([0]),
    refChosen: tf.tensor1d([0]),
    refRejected: tf.tensor1d([0]),
  });
  const at = (loss: tf.Tensor) => loss.dataSync()[0]!;

  it("stay finite however far apart a pair is", () => {
    tf.tidy(() => {
      for (const lead of [-1e4, 1e4]) {
        expect(at(dpoLoss(pair(lead), { beta: 1, labelSmoothing: 0.1 }))).toBeLessThan(1.1e4);
        const [chosen, rejected] = [tf.tensor1d([Math.min(lead, 0)]), tf.tensor1d([Math.min(-lead, 0)])];
        expect(Number.isFinite(at(orpoLoss({ chosen, rejected, lambda: 1 })))).toBe(true);
      }
    });
  });

  it("of robust DPO averages to DPO's over flipped labels", () => {
    tf.tidy(() => {
      const rate = 0.2;
      const robust = (lead: number) => at(robustDpoLoss(pair(lead), { beta: 0.5, flipRate: rate }));
      const expected = at(dpoLoss(pair(1.3), { beta: 0.5 }));
      expect((1 - rate) * robust(1.3) + rate * robust(-1.3)).toBeCloseTo(expected, 5);
    });
  });

  it("have their minimum where the papers say", () => {
    tf.tidy(() => {
      expect(at(ipoLoss(pair(1 / (2 * 0.1)), { tau: 0.1 }))).toBeCloseTo(0, 6);
      const slope = tf.grad((x) =>
        tf.sum(dpoLoss({ ...pair(0), chosen: x as tf.Tensor1D }, { beta: 1, labelSmoothing: 0.1 })),
      );
      expect(at(slope(tf.tensor1d([Math.log(9)])))).toBeCloseTo(0, 6);
    });
  });

  it("refuse what does not belong together", () => {
    tf.tidy(() => {
      expect(() => dpoLoss({ ...pair(1), rejected: tf.zeros([2]) }, { beta: 1 })).toThrow(
        "chosen and rejected must be vectors of one length, got [1] and [2]",
      );
      expect(() => robustDpoLoss(pair(1), { beta: 1, flipRate: 0.5 })).toThrow(
        "flipRate must lie in [0, 0.5)",
      );
    });
  });
});
