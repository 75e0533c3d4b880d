/** What the tests of the GPU backends share: one computation on the cpu backend and on the GPU. */
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import { integers, key, normals } from "../../core/random.ts";
import { useBackend } from "../../tensor/backend.ts";

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1);

/** A tensor that is not made yet, because each backend needs its own. */
export interface Raw {
  readonly values: Float32Array | Int32Array;
  readonly shape: number[];
}
export const floats = (seed: number, shape: number[], scale = 1): Raw => ({
  values: normals(key(seed), sizeOf(shape)).map((value) => value * scale),
  shape,
});
export const ints = (seed: number, shape: number[], below: number): Raw => ({
  values: integers(key(seed), sizeOf(shape), below),
  shape,
});

/** What tests must leave as it was, temporary buffers of kernels included. */
const held = () => {
  const { numTensors, numBytesInGPU } = tf.memory() as tf.MemoryInfo & { readonly numBytesInGPU?: number };
  return { numTensors, numBytesInGPU };
};

type Operation = (inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[];

/** What an operation gives on a backend; it must leave no tensor behind. */
export const runOn = async (
  backend: "cpu" | "cuda" | "webgpu",
  inputs: ReadonlyArray<Raw>,
  operation: Operation,
): Promise<ReadonlyArray<ArrayLike<number>>> => {
  await useBackend(backend);
  const before = held();
  const outputs = tf.tidy(() =>
    operation(
      inputs.map(({ values, shape }) =>
        tf.tensor(values, shape, values instanceof Int32Array ? "int32" : "float32"),
      ),
    ),
  );
  const list = [outputs].flat();
  const results = await Promise.all(list.map((tensor) => tensor.data()));
  tf.dispose(list);
  expect(held()).toEqual(before);
  return results;
};

/** The value of an operation and the gradients of Σ w · value, for random w, by its float inputs. */
export const withGradients =
  (operation: (inputs: tf.Tensor[]) => tf.Tensor) =>
  (inputs: tf.Tensor[]): tf.Tensor[] => {
    const variable = inputs.filter(({ dtype }) => dtype === "float32");
    const f = (...given: tf.Tensor[]) => {
      let next = 0;
      return operation(inputs.map((input) => (input.dtype === "float32" ? given[next++]! : input)));
    };
    const y = operation(inputs);
    const weights = tf.tensor(floats(99, y.shape).values, y.shape);
    return [y, ...tf.grads(f)(variable, weights)];
  };

/** Asserts equality up to `tolerance` relative to the largest expected number. */
export const expectClose = (
  actual: ReadonlyArray<ArrayLike<number>>,
  expected: ReadonlyArray<ArrayLike<number>>,
  tolerance: number,
): void => {
  expect(actual.length).toBe(expected.length);
  for (const [output, numbers] of expected.entries()) {
    const found = actual[output]!;
    expect(found.length, `size of output ${output}`).toBe(numbers.length);
    let scale = 1;
    for (let i = 0; i < numbers.length; i++) scale = Math.max(scale, Math.abs(numbers[i]!));
    for (let i = 0; i < numbers.length; i++) {
      if (Math.abs(found[i]! - numbers[i]!) <= tolerance * scale) continue;
      throw new Error(`output ${output}, element ${i}: got ${found[i]}, expected ${numbers[i]}`);
    }
  }
};
