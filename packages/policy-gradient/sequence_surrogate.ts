import * as tf from "@tensorflow/tfjs-core";
import { assertResponses } from "./_shapes.ts";
import { type ClippedSurrogate, clippedSurrogate } from "./clipped_surrogate.ts";

/**
 * The clipped surrogate with a whole response as one action, as RLOO takes it (Ahmadian et al. 2024, arXiv:2402.14740;
 * TRL's clip):
 *
 *     loss = −mean over sequences of min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)      ρ = exp(Σₜ log π(yₜ) − log π_old(yₜ))
 *
 * At ρ = 1 its gradient is REINFORCE's. All results are per sequence: `ratio` is `[batch, 1]`.
 *
 * @param logProbs of the sampled tokens under the policy being optimized, `[batch, response]`.
 * @param oldLogProbs the same under the policy that sampled them, `[batch, response]`.
 * @param advantages A, one a sequence, `[batch]`.
 * @param mask 1 for a token that counts, `[batch, response]`.
 * @param clipRange ε, above 0.
 * @param denominator sequences to divide by, in place of those given.
 * @throws RangeError when the shapes do not agree.
 */
export function sequenceSurrogate({
  logProbs,
  oldLogProbs,
  advantages,
  mask,
  ...options
}: {
  readonly logProbs: tf.Tensor2D;
  readonly oldLogProbs: tf.Tensor2D;
  readonly advantages: tf.Tensor1D;
  readonly mask: tf.Tensor2D;
  readonly clipRange: number;
  readonly denominator?: number;
}): ClippedSurrogate {
  assertResponses("compute the sequence surrogate", { logProbs, oldLogProbs, mask, advantages });
  return tf.tidy(() => {
    const ofSequence = (x: tf.Tensor) => tf.sum(tf.mul(x, mask), 1, true) as tf.Tensor2D;
    const { loss, clipFraction, approxKl, ratio } = clippedSurrogate({
      logProbs: ofSequence(logProbs),
      oldLogProbs: ofSequence(oldLogProbs),
      advantages: tf.expandDims(advantages, 1),
      mask: tf.ones([logProbs.shape[0], 1]),
      ...options,
    });
    return { loss, clipFraction, approxKl, ratio };
  });
}
