import * as tf from "@tensorflow/tfjs-core";
import { asRows, assertShape, fromRows } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/**
 * Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019).
 *
 * y = gain · x / √(mean(x²) + ε)
 *
 * @param x `[..., d]`
 * @param gain `[d]`
 * @returns `[..., d]`
 * @throws RangeError when gain does not match the last axis of x
 */
export const rmsNorm = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  gain: tf.Tensor,
  epsilon = 1e-6,
): tf.Tensor<R> => {
  assertShape("normalise by the root mean square", "gain", gain, [x.shape.at(-1) ?? 1]);
  return tf.tidy(() => {
    if (!hasFusedKernel("RlhfRmsNorm")) return composedRmsNorm(x, gain, epsilon);
    return fromRows<R>(fusedRmsNorm(asRows(x), gain, epsilon), x.shape);
  });
};

const composedRmsNorm = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  gain: tf.Tensor,
  epsilon: number,
): tf.Tensor<R> => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon))), gain);

const fusedRmsNorm = (x: tf.Tensor2D, gain: tf.Tensor, epsilon: number): tf.Tensor2D =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfRmsNorm", { x, gain }, { epsilon });
    save([x, gain, y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, gain, y] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      return [...runFusedKernel("RlhfRmsNormGrad", { dy, x, gain, y }, { epsilon })];
    };
    return { value: y, gradFunc };
  })(x, gain) as tf.Tensor2D;
