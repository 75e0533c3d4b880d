/** One computation on several backends: its inputs as plain numbers, what it gives, and how far that may differ. */
import assert from "node:assert/strict";
import { integers, key } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { type BackendName, useBackend } from "../backend.ts";
import { difference, randomNumbers, sizeOf } from "./numbers.ts";

/** A tensor as plain numbers: each backend needs its own. */
export interface Raw {
  readonly values: Float32Array | Int32Array | Uint8Array;
  readonly shape: number[];
  readonly dtype: "float32" | "int32" | "bool";
}
export const floats = (seed: number, shape: number[], scale = 1): Raw => ({
  values: randomNumbers(seed, shape, scale),
  shape,
  dtype: "float32",
});
export const ints = (seed: number, shape: number[], below: number): Raw => ({
  values: integers(key(seed), sizeOf(shape), below),
  shape,
  dtype: "int32",
});
export const bools = (seed: number, shape: number[]): Raw => ({
  values: Uint8Array.from(integers(key(seed), sizeOf(shape), 2)),
  shape,
  dtype: "bool",
});

/** The same with NaN, infinities, zeros of both signs, and very large and very small numbers among the floats. */
export const withOddNumbers = (inputs: ReadonlyArray<Raw>): Raw[] =>
  inputs.map((raw) => {
    if (raw.dtype !== "float32") return raw;
    const values = raw.values.slice();
    for (const [i, x] of [Number.NaN, Infinity, -Infinity, 0, -0, 1e30, -1e-30].entries())
      if (values.length > 8 * i) values[(7 * i) % values.length] = x;
    return { ...raw, values };
  });

/**
 * The tensor lies in the middle of a longer array, off every alignment, with numbers around it that would show in any
 * result they got into.
 */
const tensorOf = ({ values, shape, dtype }: Raw): tf.Tensor => {
  const before = 3;
  const wide = new (values.constructor as Float32ArrayConstructor)(values.length + 2 * before);
  wide.fill(dtype === "float32" ? Number.NaN : 2 ** 30);
  const view = wide.subarray(before, before + values.length);
  view.set(values);
  return tf.tensor(view, shape, dtype);
};

/** What a computation must leave as it was, temporary buffers of kernels included. */
const held = () => {
  const { numTensors, numBytesInGPU } = tf.memory() as tf.MemoryInfo & { readonly numBytesInGPU?: number };
  return { numTensors, numBytesInGPU };
};

/** What an operation gives on a backend; it must leave no tensor behind. */
export const runOn = async (
  backend: BackendName,
  inputs: ReadonlyArray<Raw>,
  operation: (inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): Promise<Raw[]> => {
  await useBackend(backend);
  const before = held();
  const outputs = [tf.tidy(() => operation(inputs.map(tensorOf)))].flat();
  const results = await Promise.all(
    outputs.map(async (tensor) => {
      const { shape, dtype } = tensor as tf.Tensor & Raw;
      return { values: await tensor.data<Raw["dtype"]>(), shape, dtype };
    }),
  );
  tf.dispose(outputs);
  assert.deepEqual(held(), before, `${backend} must leave no tensor behind`);
  return results;
};

/** Random weights of the outputs, for the gradients of Σ weight · output. */
export const weightsOf = (shape: number[]): Raw => floats(99, shape);

/** The value of an operation and its gradients by its float32 inputs, see `weightsOf`. */
export const withGradients =
  (operation: (inputs: tf.Tensor[]) => tf.Tensor) =>
  (inputs: tf.Tensor[]): tf.Tensor[] => {
    const variable = inputs.filter(({ dtype }) => dtype === "float32");
    const f = (...given: tf.Tensor[]) => {
      let next = 0;
      return operation(inputs.map((input) => (input.dtype === "float32" ? given[next++]! : input)));
    };
    const y = operation(inputs);
    return [y, ...tf.grads(f)(variable, tensorOf(weightsOf(y.shape)))];
  };

/** The largest difference of any output, see `difference`; shapes and types must agree. */
export const largestDifference = (actual: ReadonlyArray<Raw>, expected: ReadonlyArray<Raw>): number => {
  const kinds = (outputs: ReadonlyArray<Raw>) => outputs.map(({ shape, dtype }) => ({ shape, dtype }));
  assert.deepEqual(kinds(actual), kinds(expected));
  return Math.max(0, ...expected.map(({ values }, i) => difference(actual[i]!.values, values)));
};

/**
 * The largest ‖actual − expected‖ / ‖expected‖ of any output, in the 2-norm over its finite numbers: what is left to compare
 * where operands are rounded, for then sums that cancel are off by more than their size. `roundedTolerance` bounds it for
 * every case of the fused operations in bf16; ReLU, whose kink some numbers then cross, comes to 0.03, blocks to 0.02.
 */
export const relativeError = (actual: ReadonlyArray<Raw>, expected: ReadonlyArray<Raw>): number => {
  const norm = (values: ReadonlyArray<number>) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
  const errors = expected.map(({ values }, i) => {
    const wanted = Array.from(values);
    const off = norm(
      wanted.map((x, j) => (Object.is(x, actual[i]!.values[j]) ? 0 : x - actual[i]!.values[j]!)),
    );
    return off === 0 ? 0 : off / norm(wanted.filter(Number.isFinite));
  });
  return Math.max(0, ...errors);
};
export const roundedTolerance = 0.05;

/** Asserts that outputs agree up to `tolerance`; says where they do not. */
export const expectClose = (
  actual: ReadonlyArray<Raw>,
  expected: ReadonlyArray<Raw>,
  tolerance: number,
): void => {
  if (largestDifference(actual, expected) <= tolerance) return;
  for (const [i, { values, shape }] of expected.entries()) {
    const found = actual[i]!.values;
    const off = difference(found, values);
    if (off <= tolerance) continue;
    const at = Array.from(values).findIndex((wanted, j) => difference([found[j]!], [wanted]) >= off);
    const where = `output ${i} [${shape}] is off by ${off}, element ${at}`;
    assert.fail(`${where}: got ${found[at]}, expected ${values[at]}`);
  }
};
