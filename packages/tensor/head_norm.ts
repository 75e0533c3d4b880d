import * as tf from "@tensorflow/tfjs-core";
import { assertShape } from "./_shapes.ts";
import { assertHeads } from "./attention.ts";
import { rmsNorm } from "./rms_norm.ts";

const task = "normalise heads";

/**
 * Root-mean-square norm over each query head and each key head; values pass unchanged (Dehghani et al. 2023,
 * arXiv:2302.05442; Qwen 3).
 *
 * @param qkv `[..., (heads + 2 kvHeads) headDim]`, laid out as `attention` wants it
 * @param options.queryGain `[headDim]`, shared by all query heads; likewise `keyGain`
 * @returns the same shape as qkv
 * @throws RangeError when shapes do not agree
 */
export const normHeads = <R extends tf.Rank>(
  qkv: tf.Tensor<R>,
  options: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly queryGain: tf.Tensor;
    readonly keyGain: tf.Tensor;
    readonly epsilon: number;
  },
): tf.Tensor<R> => {
  const { heads, kvHeads, queryGain, keyGain, epsilon } = options;
  assertHeads(task, qkv, heads, kvHeads);
  const headDim = qkv.shape.at(-1)! / (heads + 2 * kvHeads);
  assertShape(task, "queryGain", queryGain, [headDim]);
  assertShape(task, "keyGain", keyGain, [headDim]);
  return tf.tidy(() => {
    const byHead = tf.reshape(qkv, [-1, heads + 2 * kvHeads, headDim]);
    const [query, key, value] = tf.split(byHead, [heads, kvHeads, kvHeads], 1) as [
      tf.Tensor3D,
      tf.Tensor3D,
      tf.Tensor3D,
    ];
    const normed = [rmsNorm(query, queryGain, epsilon), rmsNorm(key, keyGain, epsilon), value];
    return tf.reshape(tf.concat(normed, 1), qkv.shape);
  });
};
