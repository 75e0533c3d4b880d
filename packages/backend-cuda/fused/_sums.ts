import type * as tf from "@tensorflow/tfjs-core";
import type { CudaBackend } from "../backend.ts";
import { blocksOf } from "./_launch.ts";

/**
 * Adds up partial sums over groups of rows and frees them.
 *
 * @param partials `[groups, width]`, or `[groups, 2 width]` for two totals
 * @param totals `[width]` each
 */
export const sumPartials = (
  backend: CudaBackend,
  partials: tf.TensorInfo,
  [first, second]: ReadonlyArray<tf.TensorInfo>,
): void => {
  const [groups, stride] = partials.shape as [number, number];
  const launch = { grid: blocksOf(stride, 32), block: 256 };
  backend.launch("fused_sums", "fused_sum_partials", launch, [
    partials,
    first!,
    second ?? null,
    groups,
    first!.shape[0]!,
    stride,
  ]);
  backend.free(partials);
};
