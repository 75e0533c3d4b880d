import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { beforeAll, expect, it } from "vitest";
import { totalLoss } from "./total_loss.ts";

beforeAll(() => useBackend("cpu"));

it("adds losses up, one after the other, and leaves no tensor", async () => {
  const before = tf.memory().numTensors;
  const held: Array<number> = [];
  const losses = [1, 2, 4].map((value) => () => {
    held.push(tf.memory().numTensors - before);
    return tf.sum(tf.fill([3], value)) as tf.Scalar;
  });
  const total = totalLoss(losses);
  expect(await Effect.runPromise(total)).toBe(21);
  expect(await Effect.runPromise(total)).toBe(21);
  expect(held).toEqual([0, 0, 0, 0, 0, 0]);
  expect(tf.memory().numTensors).toBe(before);
});
