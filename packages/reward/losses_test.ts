import { expectFidelity, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { bradleyTerryLoss } from "./bradley_terry.ts";
import golden from "./golden/losses.json" with { type: "json" };
import { rankedPairs, rankingLoss } from "./ranking_loss.ts";

beforeAll(async () => {
  await useBackend("cpu");
});

/** Value and gradients of `loss`, with everything that it allocated freed again. */
async function differentiate(
  loss: (...inputs: Array<tf.Tensor1D>) => tf.Scalar,
  ...inputs: Array<Array<number>>
) {
  const before = tf.memory().numTensors;
  const tensors = inputs.map((values) => tf.tensor1d(values));
  const { value, grads } = tf.valueAndGrads((...xs: Array<tf.Tensor>) => loss(...(xs as Array<tf.Tensor1D>)))(
    tensors,
  );
  const result = {
    loss: (await value.data())[0]!,
    gradients: await Promise.all(grads.map(async (grad) => Array.from(await grad.data()))),
  };
  tf.dispose([value, grads, tensors]);
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

function expectClose(actual: ReadonlyArray<number>, expected: ReadonlyArray<number>) {
  expect(actual.length).toBe(expected.length);
  for (const [i, x] of expected.entries()) {
    expect(Math.abs(actual[i]! - x)).toBeLessThan(1e-6 + 1e-5 * Math.abs(x));
  }
}

const check = (formula: string, found: ReadonlyArray<number>, expected: ReadonlyArray<number>) =>
  expectFidelity({ formula, source: golden.source, error: relativeError(found, expected), limit: 1e-5 });

describe("bradleyTerryLoss", () => {
  it.each(golden.pairwise)("gives TRL's value and gradient, case %#", async (example) => {
    const { loss, gradients } = await differentiate(
      (chosen, rejected) =>
        bradleyTerryLoss({
          chosen,
          rejected,
          ...(example.margin && { margin: tf.tensor1d(example.margin) }),
        }),
      example.chosen,
      example.rejected,
    );
    const name = `pairwise ranking loss${example.margin ? " with a margin" : ""}`;
    check(`${name}: loss`, [loss], [example.loss]);
    check(`${name}: gradients`, gradients[0]!, example.chosenGradient);
    check(`${name}: gradients`, gradients[1]!, example.rejectedGradient);
  });

  it("refuses scores that do not pair up", () => {
    expect(() => bradleyTerryLoss({ chosen: tf.tensor1d([1]), rejected: tf.tensor1d([1, 2]) })).toThrow(
      "rejected must match chosen [1], got [2]",
    );
    expect(() => bradleyTerryLoss({ chosen: tf.tensor1d([]), rejected: tf.tensor1d([]) })).toThrow(
      "at least one pair",
    );
  });
});

describe("rankingLoss", () => {
  it.each(golden.ranking)(
    "gives PyTorch's value and gradient, case %#",
    async ({ prompts, loss, gradient }) => {
      const pairs = rankedPairs(prompts.map((prompt) => [prompt.ranks]));
      const actual = await differentiate(
        (scores) => rankingLoss({ scores, pairs }),
        prompts.flatMap((prompt) => prompt.scores),
      );
      check("K-wise ranking loss: loss", [actual.loss], [loss]);
      check("K-wise ranking loss: gradient", actual.gradients[0]!, gradient);
    },
  );

  it("is the pairwise loss when every prompt has two responses", async () => {
    const scores = [0.3, -1, 2, 0.5];
    const ranked = await differentiate(
      (scores) =>
        rankingLoss({
          scores,
          pairs: rankedPairs([[[1, 2]], [[2, 1]]]),
        }),
      scores,
    );
    const paired = await differentiate(
      (chosen, rejected) => bradleyTerryLoss({ chosen, rejected }),
      [0.3, 0.5],
      [-1, 2],
    );
    expectClose([ranked.loss], [paired.loss]);
  });

  it("does not change when a constant is added to the scores of a prompt", async () => {
    const pairs = rankedPairs([[[1, 2, 3]], [[2, 1]]]);
    const loss = (scores: tf.Tensor1D) => rankingLoss({ scores, pairs });
    const { loss: plain } = await differentiate(loss, [1, 2, 3, 4, 5]);
    const { loss: shifted } = await differentiate(loss, [11, 12, 13, 4, 5]);
    expectClose([shifted], [plain]);
  });

  it("counts the pairs of everybody who ranked a prompt, so that a prompt counts the same however many did", () => {
    const { winners, losers, weights } = rankedPairs([
      [
        [1, 2, 2],
        [2, 1, 1],
      ],
      [[1, 2]],
    ]);
    expect([...winners]).toEqual([0, 0, 1, 2, 3]);
    expect([...losers]).toEqual([1, 2, 0, 0, 4]);
    expectClose([...weights], [1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 2]);
  });

  it("refuses a batch without a decided pair, and pairs without scores", () => {
    const scores = tf.tensor1d([1, 2]);
    expect(() => rankingLoss({ scores, pairs: rankedPairs([[[1, 1]]]) })).toThrow("got none");
    expect(() => rankingLoss({ scores, pairs: rankedPairs([[[1, 2, 3]]]) })).toThrow(
      "at least 3 entries, got [2]",
    );
  });
});
