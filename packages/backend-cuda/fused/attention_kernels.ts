/** Attention without the `[time, time]` matrix, and its gradient. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import { blocksOf } from "./_launch.ts";

interface AttentionAttributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
}

/** Rows of queries and keys in a tile, by headDim rounded up, as in fused_attention.cu and fused_attention_grad.cu. */
const tiles = {
  32: { forward: [64, 64], backward: [32, 32] },
  64: { forward: [64, 64], backward: [32, 32] },
  128: { forward: [32, 32], backward: [16, 16] },
  256: { forward: [32, 16], backward: [16, 16] },
} as const;
const dims = [32, 64, 128, 256] as const;

const threads = 256;

/** Sizes of q|k|v, and what all kernels of attention end with. */
const viewOf = (op: string, qkv: tf.TensorInfo, { heads, kvHeads, causal }: AttentionAttributes) => {
  const [batch, time, width] = qkv.shape as [number, number, number];
  const headDim = width / (heads + 2 * kvHeads);
  const dim = dims.find((known) => headDim <= known);
  if (dim === undefined) throw new RangeError(`Cannot run ${op}: headDim may be at most 256, got ${headDim}`);
  // Scores are taken in base 2.
  const scale = { f32: Math.LOG2E / Math.sqrt(headDim) };
  return { batch, time, headDim, dim, rest: [time, heads, kvHeads, headDim, causal ? 1 : 0, scale] };
};

/** Bytes of tiles [rows, columns], with four floats of padding a row. */
const bytesOf = (...parts: ReadonlyArray<readonly [rows: number, columns: number]>): number =>
  parts.reduce((sum, [rows, columns]) => sum + 4 * rows * (columns + 4), 0);

const attention = kernel<"qkv" | "segments", AttentionAttributes>(({ op, inputs, attrs, backend }) => {
  const { qkv, segments } = inputs as Partial<typeof inputs> & Pick<typeof inputs, "qkv">;
  const { heads } = attrs;
  const { batch, time, headDim, dim, rest } = viewOf(op, qkv, attrs);
  const y = backend.output([batch, time, heads * headDim]);
  const logSumExp = backend.output([batch, heads, time]);
  const [queries, keys] = tiles[dim].forward;
  const launch = {
    grid: [blocksOf(time, queries), heads, batch],
    block: threads,
    shared: bytesOf([queries, dim], [keys, dim], [queries, keys]),
  } as const;
  const args = [qkv, segments ?? null, y, logSumExp, ...rest];
  backend.launch("fused_attention", `fused_attention_${dim}`, launch, args);
  backend.keepWith(y, [logSumExp]);
  return y;
});

const attentionGrad = kernel<"dy" | "qkv" | "y" | "segments", AttentionAttributes>(
  ({ op, inputs, attrs, backend }) => {
    const { dy, qkv, y, segments } = inputs as Partial<typeof inputs> & Omit<typeof inputs, "segments">;
    const { heads, kvHeads } = attrs;
    const { batch, time, headDim, dim, rest } = viewOf(op, qkv, attrs);
    const [logSumExp] = backend.keptWith(op, y);
    const dqkv = backend.output(qkv.shape);
    const delta = backend.output([batch, heads, time]);
    const rows = batch * time * heads;
    backend.launch(
      "fused_attention_grad",
      "fused_attention_delta",
      { grid: blocksOf(rows, 8), block: threads },
      [dy, y, delta, rows, time, heads, headDim],
    );
    const [queries, keys] = tiles[dim].backward;
    const args = [dy, qkv, segments ?? null, logSumExp!, delta, dqkv, ...rest];
    const four = [
      [queries, dim],
      [queries, dim],
      [keys, dim],
      [keys, dim],
    ] as const;
    backend.launch(
      "fused_attention_grad",
      `fused_attention_key_grad_${dim}`,
      {
        grid: [blocksOf(time, keys), kvHeads, batch],
        block: threads,
        shared: bytesOf(...four, [keys, queries], [keys, queries]),
      },
      args,
    );
    backend.launch(
      "fused_attention_grad",
      `fused_attention_query_grad_${dim}`,
      {
        grid: [blocksOf(time, queries), heads, batch],
        block: threads,
        shared: bytesOf(...four, [queries, keys]),
      },
      args,
    );
    backend.free(delta);
    return dqkv;
  },
);

export const attentionKernels: Record<string, Kernel> = {
  RlhfAttention: attention,
  RlhfAttentionGrad: attentionGrad,
};
