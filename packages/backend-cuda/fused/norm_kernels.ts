/** Layer norm and RMS norm over the last axis. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { rowThreads, vectorOf } from "./_launch.ts";
import { sumPartials } from "./_sums.ts";

type Norm = "layer" | "rms";

const forward = (
  norm: Norm,
  backend: CudaBackend,
  tensors: { readonly x: tf.TensorInfo; readonly gain: tf.TensorInfo; readonly bias: tf.TensorInfo | null },
  epsilon: number,
): tf.TensorInfo => {
  const { x, gain, bias } = tensors;
  const [rows, width] = x.shape as [number, number];
  const vector = vectorOf(width);
  const y = backend.activation([rows, width]);
  const stats = backend.output(norm === "layer" ? [rows, 2] : [rows]);
  // A block a row where the rows alone leave the GPU idle, or where one is too long for a warp.
  const block = rows < 8 * backend.device.multiprocessors || width > 4096;
  const launch = block
    ? { grid: rows, block: rowThreads(width / vector, 256) }
    : { grid: Math.ceil(rows / 4), block: 128 };
  const name = `fused_${norm}_norm_${block ? "block" : "warp"}_${vector}`;
  backend.launch("fused_norm", name, launch, [
    { stored: x },
    gain,
    bias,
    { stored: y },
    stats,
    rows,
    width,
    { f32: epsilon },
  ]);
  backend.keepWith(y, [stats]);
  return y;
};

/** The widest rows of which a block of 512 threads keeps all columns in registers. */
const widest = { 1: 512 * 32, 4: 512 * 4 * 8 } as const;

/**
 * Gradients by x and by the weights.
 *
 * @param residual the gradient that reaches x past the norm, which is added; then products read the sum
 */
export const normGradient = (
  norm: Norm,
  op: string,
  backend: CudaBackend,
  tensors: Readonly<Record<"dy" | "x" | "gain" | "y", tf.TensorInfo>>,
  residual?: tf.TensorInfo,
): tf.TensorInfo[] => {
  const { dy, x, gain, y } = tensors;
  const [rows, width] = x.shape as [number, number];
  const vector = vectorOf(width);
  if (width > widest[vector]) {
    throw new RangeError(`Cannot run ${op}: rows may have at most ${widest[vector]} elements, got ${width}`);
  }
  const [stats] = backend.keptWith(op, y);
  const dx = backend.output([rows, width]);
  const sums = norm === "layer" ? 2 : 1;
  const totals = Array.from({ length: sums }, () => backend.output([width]));
  const vectors = Math.ceil(width / vector);
  const block = rowThreads(vectors, vectors <= 1024 ? 256 : 512);
  const runs = [1, 4, vector === 4 ? 8 : 32].find((count) => count * block >= vectors)!;
  const groups = Math.min(rows, 2 * backend.device.multiprocessors);
  const partials = backend.output([groups, sums * width]);
  backend.launch("fused_norm", `fused_${norm}_norm_grad_${vector}_${runs}`, { grid: groups, block }, [
    { stored: dy },
    { stored: x },
    gain,
    stats!,
    residual ? { stored: residual } : null,
    { stored: dx },
    residual ? { copyOf: dx } : null,
    partials,
    rows,
    width,
  ]);
  sumPartials(backend, partials, totals);
  return [dx, ...totals];
};

type Epsilon = { readonly epsilon: number };
const layerNorm = kernel<"x" | "gain" | "bias", Epsilon>(({ inputs, attrs, backend }) =>
  forward("layer", backend, inputs, attrs.epsilon),
);
const rmsNorm = kernel<"x" | "gain", Epsilon>(({ inputs, attrs, backend }) =>
  forward("rms", backend, { ...inputs, bias: null }, attrs.epsilon),
);
const layerNormGrad = kernel<"dy" | "x" | "gain" | "y">(({ op, inputs, backend }) =>
  normGradient("layer", op, backend, inputs),
);
const rmsNormGrad = kernel<"dy" | "x" | "gain" | "y">(({ op, inputs, backend }) =>
  normGradient("rms", op, backend, inputs),
);

export const normKernels: Record<string, Kernel> = {
  RlhfLayerNorm: layerNorm,
  RlhfLayerNormGrad: layerNormGrad,
  RlhfRmsNorm: rmsNorm,
  RlhfRmsNormGrad: rmsNormGrad,
};
