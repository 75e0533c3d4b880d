import * as tf from "@tensorflow/tfjs-core";
import { assertResponses } from "./_shapes.ts";

/**
 * REINFORCE (Williams 1992), negated, with a whole response as one action:
 *
 *     loss = −mean over sequences of Aᵢ · Σₜ log π(yᵢₜ)
 *
 * Its gradient is that of the expected reward only while the policy is the one that sampled; for further updates on the
 * same samples take {@link sequenceSurrogate}.
 *
 * @param logProbs of the sampled tokens under the policy being optimized, `[batch, response]`.
 * @param advantages A, one a sequence, `[batch]`.
 * @param mask 1 for a token that counts, `[batch, response]`.
 * @param denominator sequences to divide by, in place of those given: a micro-batch gives those of the whole batch.
 * @throws RangeError when the shapes do not agree.
 */
export function reinforceLoss({
  logProbs,
  advantages,
  mask,
  denominator = logProbs.shape[0],
}: {
  readonly logProbs: tf.Tensor2D;
  readonly advantages: tf.Tensor1D;
  readonly mask: tf.Tensor2D;
  readonly denominator?: number;
}): tf.Scalar {
  assertResponses("compute the loss of REINFORCE", { logProbs, mask, advantages });
  return tf.tidy(() => {
    const ofSequence = tf.sum(tf.mul(logProbs, mask), 1);
    return tf.div(tf.neg(tf.sum(tf.mul(advantages, ofSequence))), denominator) as tf.Scalar;
  });
}
