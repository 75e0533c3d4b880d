import { maskedMean } from "@rlhf/tensor/masked_statistics";
import * as tf from "@tensorflow/tfjs-core";

/** What {@link clippedSurrogate} computes; only `loss` carries a gradient. */
export interface ClippedSurrogate {
  /** Scalar, to be minimized. */
  readonly loss: tf.Scalar;
  /** Share of the tokens where the clipped term is the smaller one, so that the token has no gradient. */
  readonly clipFraction: tf.Scalar;
  /** ½ · mean (log π − log π_old)², the step taken since sampling; not the KL to the reference. */
  readonly approxKl: tf.Scalar;
  /** π / π_old at every token, 1 where the mask is 0, `[batch, response]`. */
  readonly ratio: tf.Tensor2D;
}

/**
 * PPO's clipped surrogate objective, negated (Schulman et al. 2017, equation 7).
 *
 *     loss = −mean over tokens of min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)      ρ = exp(log π − log π_old)
 *
 * The denominator of every mean is the number of tokens in the mask, over the whole batch: a long response weighs
 * more than a short one. A micro-batch gives the number of the batch it is part of: its parts then add up.
 *
 * @param logProbs of the sampled tokens under the policy being optimized, `[batch, response]`.
 * @param oldLogProbs the same under the policy that sampled them, `[batch, response]`.
 * @param advantages A, `[batch, response]`.
 * @param mask 1 for a token that counts, `[batch, response]`.
 * @param clipRange ε, above 0.
 * @param denominator tokens to divide by, in place of those in the mask.
 * @throws RangeError when the shapes differ.
 * @example
 * ```ts
 * import { clippedSurrogate } from "@rlhf/policy-gradient/clipped_surrogate";
 * import { useBackend } from "@rlhf/tensor/backend";
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * await useBackend("auto");
 * const { loss, clipFraction } = clippedSurrogate({
 *   logProbs: tf.tensor2d([[-1, -1]]),
 *   oldLogProbs: tf.tensor2d([[-1, -2]]), // the second token is now e times as likely: clipped
 *   advantages: tf.tensor2d([[1, 1]]),
 *   mask: tf.ones([1, 2]),
 *   clipRange: 0.5,
 * });
 * console.log(await loss.array(), await clipFraction.array()); // -1.25, 0.5
 * ```
 */
export function clippedSurrogate({
  logProbs,
  oldLogProbs,
  advantages,
  mask,
  clipRange,
  denominator,
}: {
  readonly logProbs: tf.Tensor2D;
  readonly oldLogProbs: tf.Tensor2D;
  readonly advantages: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
  readonly clipRange: number;
  readonly denominator?: number;
}): ClippedSurrogate {
  for (const [name, tensor] of Object.entries({ oldLogProbs, advantages, mask })) {
    if (!tf.util.arraysEqual(tensor.shape, logProbs.shape)) {
      throw new RangeError(
        `Cannot compute the clipped surrogate: ${name} must match logProbs [${logProbs.shape.join(", ")}], got [${tensor.shape.join(", ")}]`,
      );
    }
  }
  const mean = (x: tf.Tensor) => maskedMean(x, mask, { denominator });
  return tf.tidy(() => {
    // Masked before exp, so that whatever stands in the padding cannot overflow.
    const logRatio = tf.mul(tf.sub(logProbs, oldLogProbs), mask);
    const ratio = tf.exp(logRatio) as tf.Tensor2D;
    const unclipped = tf.mul(ratio, advantages);
    const clipped = tf.mul(tf.clipByValue(ratio, 1 - clipRange, 1 + clipRange), advantages);
    return {
      loss: tf.neg(mean(tf.minimum(unclipped, clipped))),
      clipFraction: mean(tf.cast(tf.less(clipped, unclipped), "float32")),
      approxKl: tf.mul(mean(tf.square(logRatio)), 0.5) as tf.Scalar,
      ratio,
    };
  });
}
