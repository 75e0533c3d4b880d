/** What the tests of this package share: streams of random numbers, and all threads and instruction sets. */
import type * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe } from "vitest";
import { sizeOf } from "../../tensor/testing/numbers.ts";
import { type Raw, runOn } from "../../tensor/testing/run_on.ts";
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

/** The place of the instruction set under test; −1 is the best one here. */
let instructionSet = -1;

/** Runs an operation on the native backend with two threads and with one, which must give the same bits. */
export const runNative = async (
  inputs: ReadonlyArray<Raw>,
  operation: (tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[],
): Promise<Raw[]> => {
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
const bytesOf = ({ buffer, byteOffset, byteLength }: Raw["values"]) =>
  Buffer.from(buffer, byteOffset, byteLength);

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
