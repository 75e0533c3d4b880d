import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { useBackend } from "./backend.ts";
import { maskedMean, maskedVariance, maskedWhiten } from "./masked_statistics.ts";
import { difference, expectFiniteDifferences, randomNumbers } from "./testing/numbers.ts";

beforeAll(() => useBackend("cpu"));

const values = [1, 2, Number.NaN, 4, 5, -7];
const mask = [1, 1, 0, 1, 1, 0];
const counted = [1, 2, 4, 5];

it("counts what the mask marks, whatever stands elsewhere", async () => {
  const before = tf.memory().numTensors;
  const x = tf.tensor2d(values, [2, 3]);
  const m = tf.tensor2d(mask, [2, 3]);
  const results = [maskedMean(x, m), maskedVariance(x, m), maskedMean(x, m, { denominator: 6 })];
  const [mean, variance, shared] = await Promise.all(results.map((result) => result.data()));
  expect(mean![0]).toBeCloseTo(3, 6);
  expect(variance![0]).toBeCloseTo(2.5, 6);
  expect(shared![0]).toBeCloseTo(2, 6);
  tf.dispose([x, m, results]);
  expect(tf.memory().numTensors).toBe(before);
});

it("is 0 where nothing counts", async () => {
  const empty = tf.zeros([2, 2]);
  expect((await maskedMean(tf.ones([2, 2]), empty).data())[0]).toBe(0);
  expect([...(await maskedWhiten(tf.ones([2, 2]), empty, { center: true }).data())]).toEqual([0, 0, 0, 0]);
});

it("whitens, with and without centering", async () => {
  const x = tf.tensor1d(values);
  const m = tf.tensor1d(mask);
  const expected = counted.map((value) => (value - 3) / Math.sqrt(2.5));
  const spread = (numbers: number[]) => [numbers[0]!, numbers[1]!, 0, numbers[2]!, numbers[3]!, 0];
  expect(difference(await maskedWhiten(x, m, { center: true }).data(), spread(expected))).toBeLessThan(1e-6);
  const kept = spread(expected.map((value) => value + 3));
  expect(difference(await maskedWhiten(x, m, { center: false }).data(), kept)).toBeLessThan(1e-6);
});

it("has gradients, which a NaN behind the mask does not reach", async () => {
  const input = { shape: [2, 3], values: randomNumbers(1, [2, 3]) };
  const m = () => tf.tensor2d(mask, [2, 3]);
  await expectFiniteDifferences((x) => tf.tidy(() => maskedMean(x!, m())), [input]);
  await expectFiniteDifferences((x) => tf.tidy(() => maskedVariance(x!, m())), [input]);
  await expectFiniteDifferences((x) => tf.tidy(() => maskedWhiten(x!, m(), { center: true })), [input]);
  const gradient = tf.grad((x) => maskedMean(x, tf.tensor1d(mask)))(tf.tensor1d(values));
  expect([...(await gradient.data())]).toEqual(mask.map((counts) => counts / 4));
});

it("refuses a mask of another shape", () => {
  expect(() => maskedMean(tf.ones([2, 2]), tf.ones([2]))).toThrow(
    "Cannot average under a mask: mask must be [2, 2], got [2]",
  );
});
