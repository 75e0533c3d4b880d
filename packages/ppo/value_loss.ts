import { maskedMean } from "@rlhf/tensor/masked_statistics";
import * as tf from "@tensorflow/tfjs-core";

/**
 * The value network's loss, clipped around the values at sampling time (Schulman et al. 2017; as in OpenAI's
 * lm-human-preferences).
 *
 *     loss = ½ · mean over tokens of max((V − R)², (V_old + clip(V − V_old, −ε, ε) − R)²)
 *
 * The denominator is the number of tokens in the mask; a micro-batch gives that of the batch it is part of. Only `loss` carries a gradient.
 *
 * @param values V, being optimized, `[batch, response]`.
 * @param oldValues V_old, before the update, `[batch, response]`.
 * @param returns R, `[batch, response]`.
 * @param mask 1 for a token that counts, `[batch, response]`.
 * @param clipRange ε, in units of the score, above 0.
 * @param denominator tokens to divide by, in place of those in the mask.
 * @throws RangeError when the shapes differ.
 */
export function clippedValueLoss({
  values,
  oldValues,
  returns,
  mask,
  clipRange,
  denominator,
}: {
  readonly values: tf.Tensor2D;
  readonly oldValues: tf.Tensor2D;
  readonly returns: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
  readonly clipRange: number;
  readonly denominator?: number;
}): { readonly loss: tf.Scalar; readonly clipFraction: tf.Scalar } {
  for (const [name, tensor] of Object.entries({ oldValues, returns, mask })) {
    if (!tf.util.arraysEqual(tensor.shape, values.shape)) {
      throw new RangeError(
        `Cannot compute the value loss: ${name} must match values [${values.shape.join(", ")}], got [${tensor.shape.join(", ")}]`,
      );
    }
  }
  const mean = (x: tf.Tensor) => maskedMean(x, mask, { denominator });
  return tf.tidy(() => {
    const move = tf.clipByValue(tf.sub(values, oldValues), -clipRange, clipRange);
    const unclipped = tf.square(tf.sub(values, returns));
    const clipped = tf.square(tf.sub(tf.add(oldValues, move), returns));
    return {
      loss: tf.mul(mean(tf.maximum(unclipped, clipped)), 0.5),
      clipFraction: mean(tf.cast(tf.greater(clipped, unclipped), "float32")),
    };
  });
}
