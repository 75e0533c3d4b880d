import * as tf from "@tensorflow/tfjs-core";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";

/**
 * Euclidean norm of all gradients taken together: √(Σ g²).
 *
 * @returns a scalar; 0 when there are no gradients
 */
export const globalNorm = (grads: Readonly<Record<string, tf.Tensor>>): tf.Scalar => {
  const tensors = Object.values(grads);
  if (tensors.length === 0) return tf.scalar(0);
  if (hasFusedKernel("RlhfGlobalNorm")) return runFusedKernel("RlhfGlobalNorm", {}, { tensors })[0];
  return tf.tidy(() => {
    const squares = tensors.map((tensor) => tf.tidy(() => tf.sum(tf.square(tensor))));
    return tf.sqrt(tf.addN(squares)) as tf.Scalar;
  });
};

/**
 * The factor that brings gradients of this norm down to `maxNorm`, at most 1, as torch defines it:
 * min(1, maxNorm / (norm + 10⁻⁶)).
 *
 * @returns a scalar, for `adamwStep`'s `gradScale`
 */
export const clipScale = (norm: tf.Scalar, maxNorm: number): tf.Scalar =>
  tf.tidy(() => tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1));

/**
 * Gradients scaled so that their global norm is at most `maxNorm` (Pascanu, Mikolov, Bengio 2013).
 *
 * @returns new gradients (the given ones stay) and the norm before clipping
 */
export const clipByGlobalNorm = (
  grads: Readonly<Record<string, tf.Tensor>>,
  maxNorm: number,
): { readonly grads: Record<string, tf.Tensor>; readonly norm: tf.Scalar } =>
  tf.tidy(() => {
    const norm = globalNorm(grads);
    const scale = clipScale(norm, maxNorm);
    const clipped = Object.entries(grads).map(([name, grad]) => [name, tf.mul(grad, scale)] as const);
    return { grads: Object.fromEntries(clipped), norm };
  });
