import * as tf from "@tensorflow/tfjs-core";
import { assertRange, assertShape, assertType } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

const task = "attend";

/**
 * Multi-head attention (Vaswani et al. 2017), with grouped keys and values where `kvHeads < heads`
 * (Ainslie et al. 2023): query head h reads key head ⌊h · kvHeads / heads⌋.
 *
 * y = softmax(q kᵀ / √headDim + mask) v
 *
 * @param qkv `[batch, time, (heads + 2 kvHeads) headDim]`: queries, then keys, then values, each head after head
 * @param options.causal a token sees itself and what came before it
 * @param options.segments int32 `[batch, time]`; tokens see their own segment only, a segment being one contiguous
 *   run; 0 is padding, which nobody sees and whose rows are 0. A 0/1 mask is the case of one segment
 * @returns `[batch, time, heads · headDim]`
 * @throws RangeError when shapes do not agree, TypeError when segments are not int32
 */
export const attention = (
  qkv: tf.Tensor3D,
  options: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly causal: boolean;
    readonly segments?: tf.Tensor2D | undefined;
  },
): tf.Tensor3D => {
  const { heads, kvHeads, causal, segments } = options;
  assertShape(task, "qkv", qkv, ["batch", "time", "(heads + 2 kvHeads) headDim"]);
  assertHeads(task, qkv, heads, kvHeads);
  if (segments) {
    assertShape(task, "segments", segments, qkv.shape.slice(0, 2));
    assertType(task, "segments", segments, "int32");
  }
  const compute = hasFusedKernel("RlhfAttention") ? fusedAttention : composedAttention;
  return tf.tidy(() => compute(qkv, segments, { heads, kvHeads, causal }));
};

/** Throws a RangeError unless the heads divide the last axis of qkv. */
export const assertHeads = (task: string, qkv: tf.Tensor, heads: number, kvHeads: number): void => {
  const width = qkv.shape.at(-1)!;
  assertRange(
    task,
    heads % kvHeads === 0,
    `heads must be a multiple of kvHeads, got ${heads} and ${kvHeads}`,
  );
  assertRange(
    task,
    width % (heads + 2 * kvHeads) === 0,
    `the last axis of qkv must be a multiple of heads + 2 kvHeads = ${heads + 2 * kvHeads}, got ${width}`,
  );
};

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
}

/** A score so low that its softmax weight is exactly 0 in float32. */
const never = -1e30;

const composedAttention = (qkv: tf.Tensor3D, segments: tf.Tensor2D | undefined, spec: Heads): tf.Tensor3D => {
  const { heads, kvHeads, causal } = spec;
  const [batch, time, width] = qkv.shape;
  const headDim = width / (heads + 2 * kvHeads);
  const rowsPerGroup = (heads / kvHeads) * time;

  const parts = tf.split(qkv, [heads * headDim, kvHeads * headDim, kvHeads * headDim], 2);
  // Without −1, which stands for nothing where there are no elements.
  const [query, key, value] = parts.map((part, i) => {
    const count = i === 0 ? heads : kvHeads;
    const headMajor = tf.transpose(tf.reshape(part, [batch, time, count, headDim]), [0, 2, 1, 3]);
    return tf.reshape(headMajor, [batch * kvHeads, (count / kvHeads) * time, headDim]);
  }) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];

  let scores = tf.mul(tf.matMul(query, key, false, true), 1 / Math.sqrt(headDim));
  scores = tf.reshape(scores, [batch, heads, time, time]);
  const visible = visibility(time, causal, segments);
  if (visible) scores = tf.add(scores, tf.mul(tf.sub(1, visible), never));
  const weights = tf.reshape(tf.softmax(scores), [batch * kvHeads, rowsPerGroup, time]);

  const mixed = tf.reshape(tf.matMul(weights, value), [batch, heads, time, headDim]);
  const y = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch, time, heads * headDim]);
  if (!segments) return y as tf.Tensor3D;
  return tf.mul(y, tf.expandDims(tf.cast(tf.greater(segments, 0), "float32"), 2));
};

/** float32, 1 where the row's token may see the column's: `[batch or 1, 1, time, time]`; none where all is visible. */
const visibility = (
  time: number,
  causal: boolean,
  segments: tf.Tensor2D | undefined,
): tf.Tensor | undefined => {
  const positions = tf.range(0, time, 1, "int32");
  const past = causal
    ? tf.cast(tf.greaterEqual(tf.expandDims(positions, 1), tf.expandDims(positions, 0)), "float32")
    : undefined;
  if (!segments) return past && tf.reshape(past, [1, 1, time, time]);
  const batch = segments.shape[0];
  const row = tf.reshape(segments, [batch, 1, time, 1]);
  const column = tf.reshape(segments, [batch, 1, 1, time]);
  const together = tf.cast(tf.logicalAnd(tf.equal(row, column), tf.greater(column, 0)), "float32");
  return past ? tf.mul(together, past) : together;
};

const fusedAttention = (qkv: tf.Tensor3D, segments: tf.Tensor2D | undefined, spec: Heads): tf.Tensor3D =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfAttention", { qkv, ...(segments && { segments }) }, spec);
    save([qkv, y, ...(segments ? [segments] : [])]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [qkv, y, segments] = saved as [tf.Tensor, tf.Tensor, tf.Tensor?];
      return [
        ...runFusedKernel("RlhfAttentionGrad", { dy, qkv, y, ...(segments && { segments }) }, { ...spec }),
      ];
    };
    return { value: y, gradFunc };
  })(qkv) as tf.Tensor3D;
