/** Attention without the `[time, time]` matrix, and its gradient. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { attentionVariant } from "./_attention_variants.ts";
import { blocksOf, threads } from "./_launch.ts";

interface AttentionAttributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
}

/** Sizes of q|k|v, which kernels to take, and what all their arguments end with. */
const viewOf = (
  op: string,
  backend: CudaBackend,
  qkv: tf.TensorInfo,
  { heads, kvHeads, causal }: AttentionAttributes,
) => {
  const [batch, time, width] = qkv.shape as [number, number, number];
  const headDim = width / (heads + 2 * kvHeads);
  const variant = attentionVariant(backend, headDim);
  if (!variant) throw new RangeError(`Cannot run ${op}: headDim may be at most 256, got ${headDim}`);
  // Scores are taken in base 2.
  const scale = { f32: Math.LOG2E / Math.sqrt(headDim) };
  return { batch, time, headDim, variant, rest: [time, heads, kvHeads, headDim, causal ? 1 : 0, scale] };
};

const attention = kernel<"qkv" | "segments", AttentionAttributes>(({ op, inputs, attrs, backend }) => {
  const { qkv, segments } = inputs as Partial<typeof inputs> & Pick<typeof inputs, "qkv">;
  const { heads } = attrs;
  const { batch, time, headDim, variant, rest } = viewOf(op, backend, qkv, attrs);
  const { suffix, dim, threads: block, forward } = variant;
  const shape = [batch, time, heads * headDim];
  const y = suffix === "_bf16" ? backend.activation(shape) : backend.output(shape);
  const lying = (tensor: tf.TensorInfo) => (suffix === "_bf16" ? { bf16: tensor } : tensor);
  const logSumExp = backend.output([batch, heads, time]);
  const grid = [blocksOf(time, forward.rows), heads, batch] as const;
  backend.launch(
    `fused_attention${suffix}`,
    `fused_attention${suffix}_${dim}`,
    { grid, block, shared: forward.shared },
    [lying(qkv), segments ?? null, lying(y), logSumExp, ...rest],
  );
  backend.keepWith(y, [logSumExp]);
  return y;
});

const attentionGrad = kernel<"dy" | "qkv" | "y" | "segments", AttentionAttributes>(
  ({ op, inputs, attrs, backend }) => {
    const { dy, qkv, y, segments } = inputs as Partial<typeof inputs> & Omit<typeof inputs, "segments">;
    const { heads, kvHeads } = attrs;
    const { batch, time, headDim, variant, rest } = viewOf(op, backend, qkv, attrs);
    const [logSumExp] = backend.keptWith(op, y);
    const { suffix, dim, threads: block, keyGrad, queryGrad } = variant;
    const dqkv = suffix === "_bf16" ? backend.activation(qkv.shape) : backend.output(qkv.shape);
    const lying = (tensor: tf.TensorInfo) => (suffix === "_bf16" ? { bf16: tensor } : tensor);
    const delta = backend.output([batch, heads, time]);
    const rows = batch * time * heads;
    backend.launch(
      "fused_attention_grad",
      "fused_attention_delta",
      { grid: blocksOf(rows, threads / 32), block: threads },
      [{ stored: dy }, { stored: y }, delta, rows, time, heads, headDim],
    );
    const args = [lying(dy), lying(qkv), segments ?? null, logSumExp!, delta, lying(dqkv), ...rest];
    const launch = (part: string, { rows, shared }: typeof keyGrad, partHeads: number) =>
      backend.launch(
        `fused_attention_grad${suffix}`,
        `fused_attention_${part}_grad${suffix}_${dim}`,
        { grid: [blocksOf(time, rows), partHeads, batch], block, shared },
        args,
      );
    launch("key", keyGrad, kvHeads);
    launch("query", queryGrad, heads);
    backend.free(delta);
    return dqkv;
  },
);

export const attentionKernels: Record<string, Kernel> = {
  RlhfAttention: attention,
  RlhfAttentionGrad: attentionGrad,
};
