/** Sums over the rows of a matrix in two passes without atomics, so that they are the same each time. */
import type * as tf from "@tensorflow/tfjs-core";
import { program } from "./_program.ts";
import type { WebGpuBackend } from "./backend.ts";

const threads = 64;

const sumProgram = program({
  key: "column sums",
  buffers: { x: "in f32", sums: "out f32" },
  ints: ["rows", "width", "rowsPerBlock"],
  threads,
  main: `
  let columns = (u.width + threads - 1u) / threads;
  let column = index % columns * threads + lane;
  let block = index / columns;
  if (column >= u.width || block * u.rowsPerBlock >= max(u.rows, 1u)) { return; }
  var sum = 0.0;
  let end = min(u.rows, (block + 1u) * u.rowsPerBlock);
  for (var row = block * u.rowsPerBlock; row < end; row++) { sum += x[row * u.width + column]; }
  sums[block * u.width + column] = sum;`,
});

/** How rows are shared out in the first pass: at most 64 blocks of at least 32 rows; of no rows one, whose sums are 0. */
export const rowBlocks = (rows: number): { readonly blocks: number; readonly rowsPerBlock: number } => {
  const rowsPerBlock = Math.max(32, Math.ceil(rows / 64));
  return { blocks: Math.max(1, Math.ceil(rows / rowsPerBlock)), rowsPerBlock };
};

const pass = (
  backend: WebGpuBackend,
  x: tf.TensorInfo,
  { blocks, rowsPerBlock }: ReturnType<typeof rowBlocks>,
): tf.TensorInfo => {
  const [rows, width] = x.shape as [number, number];
  const sums = backend.output(blocks === 1 ? [width] : [blocks, width]);
  backend.run(sumProgram, {
    tensors: { x, sums },
    uniforms: { rows, width, rowsPerBlock },
    groups: blocks * Math.ceil(width / threads),
  });
  return sums;
};

/** The second pass: [blocks, width] → [width]. The partial sums are freed. */
export const sumPartials = (backend: WebGpuBackend, partials: tf.TensorInfo): tf.TensorInfo => {
  const sums = pass(backend, partials, { blocks: 1, rowsPerBlock: partials.shape[0]! });
  backend.free(partials);
  return sums;
};

/** [rows, width] → [width]. */
export const columnSums = (backend: WebGpuBackend, x: tf.TensorInfo): tf.TensorInfo => {
  const shared = rowBlocks(x.shape[0]!);
  const partials = pass(backend, x, shared);
  return shared.blocks === 1 ? partials : sumPartials(backend, partials);
};
