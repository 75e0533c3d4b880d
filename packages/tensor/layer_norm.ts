import * as tf from "@tensorflow/tfjs-core";
import { asRows, assertShape, fromRows } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/**
 * Layer normalisation over the last axis (Ba, Kiros, Hinton 2016).
 *
 * y = gain · (x − mean(x)) / √(var(x) + ε) + bias, with the population variance
 *
 * @param x `[..., d]`
 * @param gain `[d]`
 * @param bias `[d]`
 * @returns `[..., d]`
 * @throws RangeError when gain or bias do not match the last axis of x
 */
export const layerNorm = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  gain: tf.Tensor,
  bias: tf.Tensor,
  epsilon = 1e-5,
): tf.Tensor<R> => {
  const size = x.shape.at(-1) ?? 1;
  assertShape("normalise a layer", "gain", gain, [size]);
  assertShape("normalise a layer", "bias", bias, [size]);
  return tf.tidy(() => {
    if (!hasFusedKernel("RlhfLayerNorm")) return composedLayerNorm(x, gain, bias, epsilon);
    return fromRows<R>(fusedLayerNorm(asRows(x), gain, bias, epsilon), x.shape);
  });
};

const composedLayerNorm = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  gain: tf.Tensor,
  bias: tf.Tensor,
  epsilon: number,
): tf.Tensor<R> => {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  return tf.add(tf.mul(tf.mul(centered, tf.rsqrt(tf.add(variance, epsilon))), gain), bias);
};

const fusedLayerNorm = (x: tf.Tensor2D, gain: tf.Tensor, bias: tf.Tensor, epsilon: number): tf.Tensor2D =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfLayerNorm", { x, gain, bias }, { epsilon });
    save([x, gain, y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, gain, y] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      return [...runFusedKernel("RlhfLayerNormGrad", { dy, x, gain, y }, { epsilon })];
    };
    return { value: y, gradFunc };
  })(x, gain, bias) as tf.Tensor2D;
