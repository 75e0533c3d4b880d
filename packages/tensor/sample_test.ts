import { key, uniforms } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { useBackend } from "./backend.ts";
import { sample } from "./sample.ts";
import { availableBackends, difference, randomNumbers } from "./testing/numbers.ts";

const backends = await availableBackends();

describe.each(backends)("sample on %s", (backend) => {
  beforeAll(() => useBackend(backend));

  const drawMany = async (logits: Float32Array, count: number, options: Parameters<typeof sample>[2]) => {
    const drawn = tf.tidy(() => {
      const rows = tf.tile(tf.tensor2d(logits, [1, logits.length]), [count, 1]) as tf.Tensor2D;
      return sample(rows, tf.tensor1d(uniforms(key(3), count)), options);
    });
    const [ids, logProbs] = [Array.from(await drawn.ids.data()), await drawn.logProbs.data()];
    tf.dispose(drawn);
    return { ids, logProbs };
  };
  const softmax = (logits: ArrayLike<number>, temperature: number) => {
    const weights = Array.from(logits, (z) => Math.exp(z / temperature));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  };

  it("draws from the tempered distribution (chi-square)", async () => {
    const logits = randomNumbers(4, [12]);
    const expected = softmax(logits, 0.7);
    const count = 4000;
    const { ids, logProbs } = await drawMany(logits, count, { temperature: 0.7 });
    const seen = expected.map((_, id) => ids.reduce((sum, drawn) => sum + (drawn === id ? 1 : 0), 0));
    const chiSquare = seen.reduce(
      (sum, n, id) => sum + (n - count * expected[id]!) ** 2 / (count * expected[id]!),
      0,
    );
    // 0.999 quantile with 11 degrees of freedom.
    expect(chiSquare).toBeLessThan(31.26);
    expect(
      difference(
        logProbs,
        ids.map((id) => Math.log(expected[id]!)),
      ),
    ).toBeLessThan(2e-6);
  });

  it("keeps to the topK likeliest tokens, and still reports the whole distribution", async () => {
    const logits = Float32Array.of(0, 3, 1, 2);
    const { ids, logProbs } = await drawMany(logits, 200, { temperature: 1, topK: 2 });
    expect(new Set(ids)).toEqual(new Set([1, 3]));
    const expected = softmax(logits, 1);
    expect(
      difference(
        logProbs,
        ids.map((id) => Math.log(expected[id]!)),
      ),
    ).toBeLessThan(2e-6);
  });

  it("keeps the smallest set that holds topP", async () => {
    const logits = Float32Array.from([0.1, 0.5, 0.15, 0.25], Math.log);
    const drawn = async (topP: number) =>
      new Set((await drawMany(logits, 300, { temperature: 1, topP })).ids);
    expect(await drawn(0.4)).toEqual(new Set([1]));
    expect(await drawn(0.6)).toEqual(new Set([1, 3]));
    expect(await drawn(0.8)).toEqual(new Set([1, 2, 3]));
    expect(await drawn(1)).toEqual(new Set([0, 1, 2, 3]));
  });

  it("never draws a token of probability 0, at either end", async () => {
    const logits = tf.tensor2d([
      [-200, 0, -Infinity, 0, -200],
      [-200, 0, -Infinity, 0, -200],
    ]);
    const { ids } = sample(logits, tf.tensor1d([0, 1 - 2 ** -24]), { temperature: 1 });
    expect([...(await ids.data())]).toEqual([1, 3]);
  });

  it("refuses what makes no sense", () => {
    const logits = tf.zeros([2, 3]) as tf.Tensor2D;
    expect(() => sample(logits, tf.zeros([3]) as tf.Tensor1D, { temperature: 1 })).toThrow(
      "Cannot sample tokens: uniforms must be [2], got [3]",
    );
    expect(() => sample(logits, tf.zeros([2]) as tf.Tensor1D, { temperature: 0 })).toThrow(RangeError);
    expect(() => sample(logits, tf.zeros([2]) as tf.Tensor1D, { temperature: 1, topP: 0 })).toThrow(
      RangeError,
    );
  });
});
