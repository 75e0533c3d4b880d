import * as tf from "@tensorflow/tfjs-core";
import { assertShape } from "./_shapes.ts";
import "./gradients.ts";

/**
 * Mean over the entries that count: Σ x m / Σ m; 0 where none counts.
 *
 * @param x any shape
 * @param mask float32, the same shape, 1 = counts, 0 = does not
 * @param options.denominator used in place of Σ m, e.g. the number of tokens in all micro-batches together
 * @returns a scalar
 */
export const maskedMean = (
  x: tf.Tensor,
  mask: tf.Tensor,
  options: { readonly denominator?: number | undefined } = {},
): tf.Scalar => {
  assertShape("average under a mask", "mask", mask, x.shape);
  return tf.tidy(() => {
    const denominator = options.denominator ?? tf.maximum(tf.sum(mask), 1);
    return tf.div(tf.sum(keepMasked(x, mask)), denominator) as tf.Scalar;
  });
};

/**
 * Population variance over the entries that count: Σ (x − mean)² m / Σ m, as lm-human-preferences takes it (TRL
 * divides by Σ m − 1).
 *
 * @returns a scalar
 */
export const maskedVariance = (x: tf.Tensor, mask: tf.Tensor): tf.Scalar => {
  assertShape("take a variance under a mask", "mask", mask, x.shape);
  return tf.tidy(() => maskedMean(tf.square(tf.sub(x, maskedMean(x, mask))), mask));
};

/**
 * Values scaled to unit variance over the entries that count, and to mean 0 with `center`.
 *
 * y = (x − mean) / √(variance + 10⁻⁸), plus the mean again without `center`; 0 where the mask is 0
 *
 * @returns the shape of x
 */
export const maskedWhiten = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  mask: tf.Tensor,
  options: { readonly center: boolean },
): tf.Tensor<R> => {
  assertShape("whiten under a mask", "mask", mask, x.shape);
  return tf.tidy(() => {
    const mean = maskedMean(x, mask);
    const scale = tf.rsqrt(tf.add(maskedVariance(x, mask), 1e-8));
    const whitened = tf.mul(tf.sub(x, mean), scale);
    return keepMasked(options.center ? whitened : tf.add(whitened, mean), mask) as tf.Tensor<R>;
  });
};

/** x where the mask is not 0, else 0, so that a NaN behind the mask stays there. */
const keepMasked = (x: tf.Tensor, mask: tf.Tensor): tf.Tensor =>
  tf.where(tf.greater(mask, 0), tf.mul(x, mask), tf.zerosLike(x));
