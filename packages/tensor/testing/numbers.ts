/** What the tests of this package share: random tensors, comparison, finite differences, the backends at hand. */
import assert from "node:assert/strict";
import { key, normals } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { type BackendName, useBackend } from "../backend.ts";

/** Every backend that starts on this machine; `cpu` is the reference and comes first. */
export const availableBackends = async (): Promise<BackendName[]> => {
  const available: BackendName[] = [];
  for (const name of ["cpu", "wasm", "native", "tensorflow"] as const) {
    await useBackend(name).then(
      () => available.push(name),
      () => undefined,
    );
  }
  return available;
};

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1);

export const randomNumbers = (seed: number, shape: ReadonlyArray<number>, scale = 1): Float32Array =>
  normals(key(seed), sizeOf(shape)).map((value) => value * scale);

/**
 * Largest difference, relative to the largest expected number (or 1 where that is smaller); NaN and infinities must be
 * where they are expected.
 */
export const difference = (actual: ArrayLike<number>, expected: ArrayLike<number>): number => {
  assert.equal(actual.length, expected.length);
  let scale = 1;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const [found, wanted] = [actual[i]!, expected[i]!];
    if (found === wanted || (Number.isNaN(found) && Number.isNaN(wanted))) continue;
    const distance = Math.abs(found - wanted);
    worst = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : Math.max(worst, distance);
  }
  for (let i = 0; i < expected.length; i++)
    if (Number.isFinite(expected[i])) scale = Math.max(scale, Math.abs(expected[i]!));
  return worst / scale;
};

/**
 * Asserts that the gradient of Σ w f(x…), for a random w, agrees with central differences in every coordinate of
 * every input. The sum over outputs is taken in float64, so that only f itself rounds to float32.
 */
export const expectFiniteDifferences = async (
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: ReadonlyArray<{ readonly shape: number[]; readonly values: Float32Array }>,
  options: { readonly step?: number; readonly tolerance?: number } = {},
): Promise<void> => {
  const { step = 1e-2, tolerance = 2e-3 } = options;
  const before = tf.memory().numTensors;
  const evaluate = async (values: ReadonlyArray<Float32Array>) => {
    const output = tf.tidy(() => f(...values.map((numbers, i) => tf.tensor(numbers, inputs[i]!.shape))));
    const data = (await output.data()) as Float32Array;
    const { shape } = output;
    output.dispose();
    return { data, shape };
  };
  const values = inputs.map((input) => input.values);
  const { shape } = await evaluate(values);
  const weights = randomNumbers(99, shape);
  const loss = async (at: ReadonlyArray<Float32Array>) =>
    (await evaluate(at)).data.reduce((sum, value, i) => sum + value * weights[i]!, 0);

  const tensors = values.map((numbers, i) => tf.tensor(numbers, inputs[i]!.shape));
  const dy = tf.tensor(weights, shape);
  const gradients = tf.grads(f)(tensors, dy);
  for (const [index, gradient] of gradients.entries()) {
    const numeric = new Float64Array(values[index]!.length);
    for (let i = 0; i < numeric.length; i++) {
      const shifted = (by: number) =>
        loss(values.map((v, j) => (j === index ? v.map((value, k) => (k === i ? value + by : value)) : v)));
      numeric[i] = ((await shifted(step)) - (await shifted(-step))) / (2 * step);
    }
    const error = difference(await gradient.data(), numeric);
    assert(error < tolerance, `The gradient by input ${index} is off by ${error}, more than ${tolerance}`);
  }
  tf.dispose([tensors, dy, gradients]);
  assert.equal(tf.memory().numTensors, before, "tensors must not be left behind");
};
