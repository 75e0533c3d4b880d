/** A computation with tfjs's own operations, to be compared with the stock kernels of the cpu backend. */
import type * as tf from "@tensorflow/tfjs-core";
import { bools, floats, ints, type Raw, withOddNumbers } from "./run_on.ts";

/**
 * By group how far outputs may be off, relative (see `difference`). Numbers that only move or are chosen, and
 * integers, are exact.
 */
export const plainTolerances = {
  layout: 0,
  "choices and integers": 0,
  elementwise: 2e-6,
  reductions: 2e-6,
  sums: 1e-5,
  products: 1e-5,
} as const;
export type Group = keyof typeof plainTolerances;

export interface PlainCase {
  readonly group: Group;
  readonly name: string;
  readonly inputs: ReadonlyArray<Raw>;
  readonly operation: (inputs: tf.Tensor[]) => tf.Tensor[];
}

/** Some of a case: what it makes of its own inputs. */
interface Part {
  readonly inputs: ReadonlyArray<Raw>;
  readonly run: (inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
}
export const given = (inputs: Part["inputs"], run: Part["run"]): Part => ({ inputs, run });

/** Floats a second time with NaN and infinities among them. */
export const alsoOdd = (parts: ReadonlyArray<Part>): Part[] => [
  ...parts,
  ...parts
    .filter(({ inputs }) => inputs.some(({ dtype }) => dtype === "float32"))
    .map(({ inputs, run }) => given(withOddNumbers(inputs), run)),
];

export const together = (group: Group, name: string, parts: ReadonlyArray<Part>): PlainCase => ({
  group,
  name,
  inputs: parts.flatMap(({ inputs }) => inputs),
  operation: (tensors) => {
    const rest = tensors.values();
    return parts.flatMap(({ inputs, run }) => run(inputs.map(() => rest.next().value!)));
  },
});

export const everyType = (shape: number[]): Raw[] => [floats(1, shape), ints(2, shape, 100), bools(3, shape)];

/** Around the lengths of vectors, without elements, and large enough for several threads. */
export const shapes = [
  [],
  [1],
  [15],
  [16],
  [17],
  [1, 1],
  [3, 7],
  [0, 4],
  [33, 31],
  [5, 1, 9],
  [2, 3, 4, 5],
  [300, 201],
];

/** Shapes that broadcast. */
export const broadcasts: ReadonlyArray<{ readonly a: number[]; readonly b: number[] }> = [
  { a: [], b: [] },
  { a: [7], b: [7] },
  { a: [7], b: [] },
  { a: [], b: [1] },
  { a: [3, 5], b: [5] },
  { a: [5], b: [3, 5] },
  { a: [3, 1], b: [1, 5] },
  { a: [4, 33, 17], b: [4, 33, 17] },
  { a: [4, 33, 17], b: [4, 1, 17] },
  { a: [4, 33, 17], b: [33, 1] },
  { a: [2, 1, 3, 1, 5], b: [1, 4, 3, 2, 1] },
  { a: [0, 5], b: [1, 5] },
  { a: [1, 1], b: [1, 1, 1] },
  { a: [300, 129], b: [129] },
];
