/** The launches of one decoding step. */
import type * as tf from "@tensorflow/tfjs-core";
import type { Kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { blocksOf, rowThreads, threads, vectorOf } from "./_launch.ts";
import type { CudaKvCache } from "./kv_cache.ts";
import { layerKernels } from "./layer_kernels.ts";
import { linearKernels } from "./linear_kernels.ts";
import { normKernels } from "./norm_kernels.ts";

export interface Spec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: string;
  readonly ropeTheta?: number | undefined;
}
interface Affine {
  readonly weight: tf.TensorInfo;
  readonly bias?: tf.TensorInfo | undefined;
}
interface Norm {
  readonly gain: tf.TensorInfo;
  readonly bias?: tf.TensorInfo | undefined;
}
export interface Weights {
  readonly tokenEmbedding: tf.TensorInfo;
  readonly positionEmbedding?: tf.TensorInfo | undefined;
  readonly blocks: ReadonlyArray<{
    readonly attentionNorm: Norm;
    readonly qkv: Affine;
    readonly attentionOut: Affine;
    readonly feedForwardNorm: Norm;
    readonly up: Affine;
    readonly down: Affine;
  }>;
  readonly finalNorm: Norm;
  readonly unembedding: tf.TensorInfo;
}

/** The weights that products read, the biases that they may add in bf16, and all but the former as they are. */
export const weightsOf = ({ blocks, finalNorm, ...tables }: Weights) => {
  const affine = blocks.flatMap(({ qkv, attentionOut, up, down }) => [qkv, attentionOut, up, down]);
  const norms = blocks.flatMap(({ attentionNorm, feedForwardNorm }) => [attentionNorm, feedForwardNorm]);
  const present = (tensors: ReadonlyArray<tf.TensorInfo | undefined>) =>
    tensors.filter((tensor) => tensor !== undefined);
  return {
    products: [tables.unembedding, ...affine.map(({ weight }) => weight)],
    biases: present(blocks.flatMap(({ qkv, up }) => [qkv.bias, up.bias])),
    others: present([
      tables.tokenEmbedding,
      tables.positionEmbedding,
      ...affine.map(({ bias }) => bias),
      ...[...norms, finalNorm].flatMap(({ gain, bias }) => [gain, bias]),
    ]),
  };
};

/** ids, slots, positions `[rows]` and output rows `[outputs]`, one behind the other in one int32 tensor. */
export interface StepInputs {
  readonly tensor: tf.TensorInfo;
  readonly rows: number;
  readonly outputs: number;
}

/** Positions of its context that one block attends to. */
const splitSize = 256;
const dims = [32, 64, 128, 256] as const;

/** Runs fused kernels whose outputs are freed behind them, or kept where the launches are recorded. */
const workshop = (backend: CudaBackend, keep: boolean) => {
  let made: tf.TensorInfo[] = [];
  const own = (tensor: tf.TensorInfo) => {
    made.push(tensor);
    return tensor;
  };
  const kernels: Readonly<Record<string, Kernel>> = { ...layerKernels, ...linearKernels, ...normKernels };
  const run = (op: string, inputs: Readonly<Record<string, tf.TensorInfo | undefined>>, attrs: object = {}) =>
    own(kernels[op]!({ op, inputs, attrs, backend } as never) as tf.TensorInfo);
  return {
    own,
    norm: (spec: Spec, x: tf.TensorInfo, { gain, bias }: Norm) =>
      spec.norm === "rms"
        ? run("RlhfRmsNorm", { x, gain }, spec)
        : run("RlhfLayerNorm", { x, gain, bias }, spec),
    linear: (
      x: tf.TensorInfo,
      { weight, bias }: Affine,
      options: { activation?: string; residual?: tf.TensorInfo; transposeWeight?: boolean } = {},
    ) => {
      const { activation = null, residual, transposeWeight = false } = options;
      return run("RlhfLinear", { x, weight, bias, residual }, { activation, transposeWeight });
    },
    swiglu: (x: tf.TensorInfo) => run("RlhfSwiglu", { x }),
    freeAllBut: (kept: tf.TensorInfo) => {
      if (keep) return;
      backend.free(...made.filter((tensor) => tensor !== kept));
      made = [kept];
    },
    /** What is still held but the result. */
    rest: (result: tf.TensorInfo) => made.filter((tensor) => tensor !== result),
  };
};

/**
 * Enqueues a decoding step.
 *
 * @param options.keep leaves the intermediate results alive
 * @returns logits `[outputs, vocab]`, and the intermediate results that were kept
 */
export const enqueueStep = (
  op: string,
  backend: CudaBackend,
  options: {
    readonly spec: Spec;
    readonly weights: Weights;
    readonly cache: CudaKvCache;
    readonly inputs: StepInputs;
    readonly keep: boolean;
  },
): { readonly logits: tf.TensorInfo; readonly owned: ReadonlyArray<tf.TensorInfo> } => {
  const { spec, weights, cache, inputs } = options;
  const { activation, headDim } = spec;
  const { rows, outputs } = inputs;
  if (headDim > dims.at(-1)!)
    throw new RangeError(`Cannot run ${op}: headDim may be at most 256, got ${headDim}`);
  const [ids, slots, positions, outputRows] = [0, 1, 2, 3].map((part) => ({
    at: inputs.tensor,
    offset: part * rows,
  })) as [Place, Place, Place, Place];
  const width = weights.tokenEmbedding.shape[1]!;
  const { own, norm, linear, swiglu, freeAllBut, rest } = workshop(backend, options.keep);
  const attend = (qkv: tf.TensorInfo, layer: number) =>
    attention(backend, spec, cache, { qkv, slots, positions, rows, layer, own });

  let x = own(backend.output([rows, width]));
  const rowLaunch = (count: number) => ({ grid: count, block: rowThreads(width, 256) });
  const embedArgs = [weights.tokenEmbedding, weights.positionEmbedding ?? null, ids, positions, x, width];
  backend.launch("fused_decode", "fused_decode_embed", rowLaunch(rows), embedArgs);
  for (const [layer, block] of weights.blocks.entries()) {
    const mixed = attend(linear(norm(spec, x, block.attentionNorm), block.qkv), layer);
    const attended = linear(mixed, block.attentionOut, { residual: x });
    const normed = norm(spec, attended, block.feedForwardNorm);
    const inner =
      activation === "swiglu" ? swiglu(linear(normed, block.up)) : linear(normed, block.up, { activation });
    x = linear(inner, block.down, { residual: attended });
    freeAllBut(x);
  }
  const last = own(backend.output([outputs, width]));
  const vector = vectorOf(width);
  backend.launch("fused_embed", `fused_embed_${vector}`, rowLaunch(outputs), [
    x,
    outputRows,
    last,
    rows,
    width,
  ]);
  const unembedding = { weight: weights.unembedding };
  const logits = linear(norm(spec, last, weights.finalNorm), unembedding, { transposeWeight: true });
  freeAllBut(logits);
  return { logits, owned: rest(logits) };
};

interface Place {
  readonly at: tf.TensorInfo;
  readonly offset: number;
}

/** Writes the new keys and values into the cache, then lets each row attend to its context. */
const attention = (
  backend: CudaBackend,
  { heads, kvHeads, headDim, ropeTheta = 0 }: Spec,
  cache: CudaKvCache,
  step: {
    readonly qkv: tf.TensorInfo;
    readonly slots: Place;
    readonly positions: Place;
    readonly rows: number;
    readonly layer: number;
    readonly own: (tensor: tf.TensorInfo) => tf.TensorInfo;
  },
): tf.TensorInfo => {
  const { qkv, slots, positions, rows, layer, own } = step;
  const [keys, values] = [cache.keys[layer]!, cache.values[layer]!];
  const { length } = cache;
  const [stored, type] = [{ stored: qkv }, cache.rounded ? "bf16" : "float"];
  const pairs = rows * (heads + 2 * kvHeads) * Math.ceil(headDim / 2);
  backend.launch("fused_decode", `fused_decode_write_${type}`, { grid: blocksOf(pairs), block: threads }, [
    stored,
    slots,
    positions,
    keys,
    values,
    rows,
    heads,
    kvHeads,
    headDim,
    length,
    { f32: ropeTheta },
  ]);
  const dim = dims.find((known) => headDim <= known)!;
  const splits = Math.ceil(length / splitSize);
  const y = own(backend.activation([rows, heads * headDim]));
  const partials = own(backend.output(splits > 1 ? [rows, heads, splits, dim + 2] : [1]));
  const name = `fused_decode_attention_${dim}_${vectorOf(headDim)}_${type}`;
  backend.launch("fused_decode", name, { grid: [rows, heads, splits], block: threads }, [
    stored,
    slots,
    positions,
    keys,
    values,
    { stored: y },
    partials,
    heads,
    kvHeads,
    headDim,
    length,
    splitSize,
    { f32: Math.LOG2E / Math.sqrt(headDim) },
  ]);
  if (splits > 1) {
    const launch = { grid: [rows, heads], block: rowThreads(headDim, threads) } as const;
    backend.launch("fused_decode", `fused_decode_join_${dim}`, launch, [
      partials,
      { stored: y },
      heads,
      headDim,
      splits,
    ]);
  }
  return y;
};
