import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { useBackend } from "./backend.ts";
import { linear } from "./linear.ts";
import { difference, randomNumbers } from "./testing/numbers.ts";
import { valueAndGrads } from "./value_and_grads.ts";

beforeAll(() => useBackend("cpu"));

const variable = (seed: number, ...shape: number[]): tf.Variable =>
  tf.tidy(() => tf.variable(tf.tensor(randomNumbers(seed, shape), shape)));

it("agrees with tf.variableGrads where tensors are shared, passed through and unused", async () => {
  const before = tf.memory().numTensors;
  const variables = { a: variable(1, 3, 4), b: variable(2, 4, 4), c: variable(3, 4), unused: variable(4, 2) };
  const f = () => {
    const { a, b, c } = variables;
    const x = tf.add(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), c);
    const y = tf.add(x, tf.add(x, tf.clone(a)));
    const [first, second] = tf.split(y, 2, 1) as [tf.Tensor, tf.Tensor];
    tf.sum(second);
    return tf.mean(tf.mul(tf.add(first, first), tf.slice(x, [0, 1], [3, 2]))) as tf.Scalar;
  };
  const actual = valueAndGrads(f, variables);
  const { a, b, c } = variables;
  const expected = tf.variableGrads(f, [a, b, c]);
  expect(difference(await actual.value.data(), await expected.value.data())).toBe(0);
  for (const name of ["a", "b", "c"] as const) {
    const reference = expected.grads[variables[name].name]!;
    expect(difference(await actual.grads[name]!.data(), await reference.data()), name).toBeLessThan(1e-6);
  }
  expect([...(await actual.grads.unused!.data())]).toEqual([0, 0]);
  tf.dispose([actual, expected as unknown as tf.TensorContainer, variables]);
  expect(tf.memory().numTensors).toBe(before);
});

it("gives a gradient of its own to each variable", async () => {
  const variables = { a: variable(1, 3), b: variable(2, 3) };
  const { value, grads } = valueAndGrads(() => tf.sum(tf.add(variables.a, variables.b)), variables);
  grads.a!.dispose();
  expect([...(await grads.b!.data())]).toEqual([1, 1, 1]);
  tf.dispose([value, grads, variables]);
});

it("holds less at its peak than tf.variableGrads", () => {
  const weights = Array.from({ length: 8 }, (_, i) => variable(i, 64, 64));
  const x = tf.tensor2d(randomNumbers(9, [64, 64]), [64, 64]);
  const f = () =>
    tf.mean(weights.reduce<tf.Tensor>((h, w) => linear(h, w, { activation: "geluTanh" }), x)) as tf.Scalar;
  const peak = (run: () => tf.TensorContainer) => {
    const engine = tf.engine() as unknown as { track(tensor: tf.Tensor): unknown };
    const { track } = engine;
    let most = 0;
    engine.track = function (this: unknown, tensor) {
      most = Math.max(most, tf.memory().numBytes);
      return track.call(this, tensor);
    };
    tf.dispose(run());
    engine.track = track;
    return most;
  };
  const ours = peak(() => valueAndGrads(f, Object.fromEntries(weights.map((w, i) => [i, w]))));
  const theirs = peak(() => tf.variableGrads(f, weights) as unknown as tf.TensorContainer);
  expect(ours).toBeLessThan(theirs);
  tf.dispose([weights, x]);
});

it("frees everything when the function fails", () => {
  const variables = { a: variable(1, 3) };
  const before = tf.memory().numTensors;
  const failing = () => {
    tf.square(variables.a);
    throw new Error("no");
  };
  expect(() => valueAndGrads(failing, variables)).toThrow("no");
  expect(() => valueAndGrads(() => tf.square(variables.a), variables)).toThrow(TypeError);
  const notKnown = () => tf.sum(tf.atan(tf.square(variables.a))) as tf.Scalar;
  expect(() => valueAndGrads(notKnown, variables)).toThrow("none is known for Atan");
  expect(tf.memory().numTensors).toBe(before);
  const { value, grads } = valueAndGrads(() => tf.sum(variables.a), variables);
  tf.dispose([value, grads, variables]);
});
