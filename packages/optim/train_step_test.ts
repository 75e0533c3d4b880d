import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { disposeAdamw, initAdamw } from "./adamw.ts";
import { accumulateGrads, trainStep } from "./train_step.ts";

beforeAll(() => useBackend("cpu"));

const rows = [
  [1, -2, 0.5],
  [0.3, 4, -1],
  [2, 2, 2],
  [-1, 0, 3],
];
const newParams = () => ({ w: tf.tidy(() => tf.variable(tf.tensor2d([0.1, -0.2, 0.3], [3, 1]))) });
const meanSquare =
  (w: tf.Variable, from: number, to: number, share = 1) =>
  (): tf.Scalar =>
    tf.mul(tf.mean(tf.square(tf.matMul(tf.tensor2d(rows.slice(from, to)), w as tf.Tensor))), share);

it("micro-batches give the gradient of one batch", async () => {
  const before = tf.memory().numTensors;
  const { w } = newParams();
  const whole = accumulateGrads({ w }, [meanSquare(w, 0, 4)]);
  const parts = accumulateGrads({ w }, [meanSquare(w, 0, 2, 0.5), meanSquare(w, 2, 4, 0.5)]);
  expect(parts.losses).toHaveLength(2);
  const [one, two] = await Promise.all([whole.grads.w!.data(), parts.grads.w!.data()]);
  one.forEach((value, i) => {
    expect(two[i]).toBeCloseTo(value, 5);
  });
  tf.dispose([w, ...[whole, parts].flatMap(({ losses, grads }) => [...losses, ...Object.values(grads)])]);
  expect(tf.memory().numTensors).toBe(before);
});

it("reports metrics of the same forward pass, added up over the parts", async () => {
  const before = tf.memory().numTensors;
  const params = newParams();
  const state = initAdamw(params);
  const part = () => {
    const loss = meanSquare(params.w, 0, 4)();
    return { loss, metrics: { half: tf.mul(loss, 0.5) as tf.Scalar } };
  };
  const result = await trainStep({ params, state, losses: [part, part], learningRate: 0.1 });
  expect(result.metrics.half).toBeCloseTo(result.losses[0]!, 5);
  expect(result.loss).toBeCloseTo(2 * result.losses[0]!, 5);
  expect(state.step).toBe(1);
  disposeAdamw(state);
  tf.dispose(params);
  expect(tf.memory().numTensors).toBe(before);
});

it("does not update anything when the loss is not finite", async () => {
  const before = tf.memory().numTensors;
  const params = newParams();
  const state = initAdamw(params);
  const losses = [() => tf.log(tf.sub(tf.sum(params.w), 100)) as tf.Scalar];
  const result = await trainStep({ params, state, losses, learningRate: 0.1 });
  expect(result.finite).toBe(false);
  expect(state.step).toBe(0);
  expect((await params.w.data())[0]).toBeCloseTo(0.1, 7);
  expect(() => accumulateGrads(params, [])).toThrow(/at least one loss/);
  disposeAdamw(state);
  tf.dispose(params);
  expect(tf.memory().numTensors).toBe(before);
});
