/** What the tests of this package share: random tensors, and running one computation on several backends. */
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { loadAddon } from "../addon.ts";

/** A stream of random numbers (mulberry32). */
export class RandomSource {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  integer(below: number): number {
    return Math.floor(this.uniform() * below);
  }

  pick<T>(choices: ReadonlyArray<T>): T {
    return choices[this.integer(choices.length)]!;
  }

  /** Roughly normal numbers. */
  floats(size: number, scale = 1): Float32Array {
    return Float32Array.from({ length: size }, () => {
      const sum = this.uniform() + this.uniform() + this.uniform() - 1.5;
      return 2 * scale * sum;
    });
  }

  integers(size: number, below: number): Int32Array {
    return Int32Array.from({ length: size }, () => this.integer(below));
  }
}

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((a, b) => a * b, 1);

/** A tensor that is not made yet, because each backend needs its own. */
export interface Raw {
  readonly values: Float32Array | Int32Array | Uint8Array;
  readonly shape: number[];
  readonly dtype: "float32" | "int32" | "bool";
}
export const floats = (source: RandomSource, shape: number[], scale = 1): Raw => ({
  values: source.floats(sizeOf(shape), scale),
  shape,
  dtype: "float32",
});
export const ints = (source: RandomSource, shape: number[], below: number): Raw => ({
  values: source.integers(sizeOf(shape), below),
  shape,
  dtype: "int32",
});
export const bools = (source: RandomSource, shape: number[]): Raw => ({
  values: Uint8Array.from(source.integers(sizeOf(shape), 2)),
  shape,
  dtype: "bool",
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

export interface Output {
  readonly shape: number[];
  readonly dtype: string;
  readonly values: Float32Array | Int32Array | Uint8Array;
}

/** Runs an operation on a backend; asserts that it leaves no tensor behind. */
export const runOn = async (
  backend: string,
  inputs: ReadonlyArray<Raw>,
  operation: (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): Promise<Output[]> => {
  await tf.setBackend(backend);
  const before = tf.memory().numTensors;
  const outputs = tf.tidy(() => operation(inputs.map(tensorOf)));
  const list = Array.isArray(outputs) ? outputs : [outputs];
  const results: Output[] = [];
  for (const tensor of list) {
    results.push({ shape: tensor.shape, dtype: tensor.dtype, values: await tensor.data() });
  }
  tf.dispose(list);
  expect(tf.memory().numTensors).toBe(before);
  return results;
};

/** The place of the instruction set under test; −1 is the best one here. */
let instructionSet = -1;

/** Runs an operation on the native backend with two threads and with one, which must give the same bits. */
export const runNative = async (
  inputs: ReadonlyArray<Raw>,
  operation: (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): Promise<Output[]> => {
  const { addon, threads } = loadAddon();
  const withThreads = async (count: number) => {
    addon.configure(instructionSet, count, true);
    return runOn("native", inputs, operation);
  };
  try {
    const [two, one] = [await withThreads(2), await withThreads(1)];
    for (const [i, { values }] of two.entries()) {
      if (!bytesOf(values).equals(bytesOf(one[i]!.values))) throw new Error("2 threads and 1 thread differ");
    }
    return two;
  } finally {
    addon.configure(instructionSet, threads, false);
  }
};
const bytesOf = ({ buffer, byteOffset, byteLength }: Output["values"]) =>
  Buffer.from(buffer, byteOffset, byteLength);

/** Asserts equality up to `tolerance` relative to the largest expected number; NaN and infinities must match. */
export const expectClose = (actual: Output, expected: Output, tolerance: number): void => {
  expect(actual.shape).toEqual(expected.shape);
  expect(actual.dtype).toBe(expected.dtype);
  expect(actual.values.length).toBe(expected.values.length);
  let scale = 1;
  for (const value of expected.values) if (Number.isFinite(value)) scale = Math.max(scale, Math.abs(value));
  for (let i = 0; i < expected.values.length; i++) {
    const [a, e] = [actual.values[i]!, expected.values[i]!];
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    if (!(Math.abs(a - e) <= tolerance * scale)) throw new Error(`element ${i}: got ${a}, expected ${e}`);
  }
};

/** Runs a suite with every instruction set that this processor has. */
export const describeInstructionSets = (suite: () => void): void => {
  const { addon, threads, isa: own } = loadAddon();
  const supports = (index: number) => {
    try {
      addon.configure(index, threads, false);
      return true;
    } catch {
      return false;
    }
  };
  const use = (index: number) => {
    instructionSet = index;
    addon.configure(index, threads, false);
  };
  for (const [index, name] of addon.instructionSets.entries()) {
    describe.skipIf(!supports(index))(name, () => {
      beforeAll(() => use(index));
      afterAll(() => use(addon.instructionSets.indexOf(own)));
      suite();
    });
  }
  use(addon.instructionSets.indexOf(own));
};
