/** How the fused kernels are launched. */

/** Floats that a thread moves at once: 4 where every row starts at 16 bytes. */
export const vectorOf = (...widths: ReadonlyArray<number>): 1 | 4 =>
  widths.every((width) => width % 4 === 0) ? 4 : 1;

/** Threads of a block in kernels with a thread a vector. */
export const threads = 256;

/** Blocks so that each of `count` things has a thread. */
export const blocksOf = (count: number, perBlock: number = threads): number => Math.ceil(count / perBlock);

/** A whole number of warps for a row of so many vectors, at most `most` threads. */
export const rowThreads = (vectors: number, most: number): number =>
  Math.min(most, 32 * Math.max(1, Math.ceil(vectors / 32)));
