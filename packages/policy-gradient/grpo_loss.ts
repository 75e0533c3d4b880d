import { k3 } from "@rlhf/kl";
import { maskedMean } from "@rlhf/tensor/masked_statistics";
import * as tf from "@tensorflow/tfjs-core";
import { assertResponses } from "./_shapes.ts";
import { type ClippedSurrogate, clippedSurrogate } from "./clipped_surrogate.ts";

/**
 * What a token counts in GRPO's loss. For a batch of B sequences, sequence i with Tᵢ tokens:
 *
 * - `"sequence"`: 1/(B Tᵢ), the mean over sequences of means over tokens (Shao et al. 2024). Long wrong responses are
 *   punished less per token than short ones: a bias towards length.
 * - `"token"`: 1/Σᵢ Tᵢ, the mean over all tokens (DAPO, Yu et al. 2025, arXiv:2503.14476).
 * - `"constant"`: 1/(B T_max), with T_max the longest response allowed: unbiased (Dr. GRPO, Liu et al. 2025).
 */
export type TokenWeight = "sequence" | "token" | "constant";

/** What {@link grpoLoss} computes; only `loss` carries a gradient. */
export interface GrpoLoss extends ClippedSurrogate {
  /** Mean over tokens of k3, the estimate of the KL to the reference that is in the loss. */
  readonly lossKl: tf.Scalar;
}

/**
 * GRPO's loss (Shao et al. 2024, arXiv:2402.03300, equation 3), negated, with a choice of what a token counts:
 *
 *     loss = −Σᵢₜ wᵢₜ · (min(ρᵢₜ Aᵢ, clip(ρᵢₜ, 1 − ε, 1 + ε) Aᵢ) − β k3ᵢₜ)      ρ = exp(log π − log π_old)
 *
 * @param logProbs of the sampled tokens under the policy being optimized, `[batch, response]`.
 * @param oldLogProbs the same under the policy that sampled them, `[batch, response]`.
 * @param refLogProbs the same under the reference, `[batch, response]`.
 * @param advantages A, one a sequence, `[batch]`.
 * @param mask 1 for a token that counts, `[batch, response]`.
 * @param clipRange ε, above 0.
 * @param klCoefficient β, ≥ 0.
 * @param tokenWeight w; Dr. GRPO's is `"constant"`.
 * @param maxLength T_max, the longest response allowed, in tokens; only `"constant"` reads it.
 * @param whole sequences and tokens of the batch that a micro-batch is part of: its parts then add up.
 * @throws RangeError when the shapes do not agree.
 */
export function grpoLoss({
  logProbs,
  oldLogProbs,
  refLogProbs,
  advantages,
  mask,
  clipRange,
  klCoefficient,
  tokenWeight,
  maxLength,
  whole,
}: {
  readonly logProbs: tf.Tensor2D;
  readonly oldLogProbs: tf.Tensor2D;
  readonly refLogProbs: tf.Tensor2D;
  readonly advantages: tf.Tensor1D;
  readonly mask: tf.Tensor2D;
  readonly clipRange: number;
  readonly klCoefficient: number;
  readonly tokenWeight: TokenWeight;
  readonly maxLength: number;
  readonly whole?: { readonly sequences: number; readonly tokens: number };
}): GrpoLoss {
  assertResponses("compute the loss of GRPO", { logProbs, oldLogProbs, refLogProbs, mask, advantages });
  return tf.tidy(() => {
    const tokens = whole?.tokens ?? tf.sum(mask);
    const sequences = whole?.sequences ?? logProbs.shape[0];
    const denominator = whole?.tokens;
    // The mean over tokens of (tokens · wᵢₜ · x): the surrogate is linear in a positive factor of the advantage.
    const lengths = tf.maximum(tf.sum(mask, 1, true), 1);
    const weight = {
      sequence: () => tf.div(tokens, tf.mul(lengths, sequences)),
      token: () => tf.onesLike(lengths),
      constant: () => tf.div(tokens, tf.fill(lengths.shape, sequences * maxLength)),
    }[tokenWeight]();
    const weighted = tf.mul(tf.mul(tf.expandDims(advantages, 1), weight), tf.onesLike(mask)) as tf.Tensor2D;
    const surrogate = clippedSurrogate({
      logProbs,
      oldLogProbs,
      advantages: weighted,
      mask,
      clipRange,
      ...(denominator === undefined ? {} : { denominator }),
    });
    const kl = k3({ logProbs: tf.mul(logProbs, mask), refLogProbs: tf.mul(refLogProbs, mask) });
    const penalty = tf.mul(maskedMean(tf.mul(kl, weight), mask, { denominator }), klCoefficient);
    return {
      ...surrogate,
      loss: tf.add(surrogate.loss, penalty) as tf.Scalar,
      lossKl: maskedMean(kl, mask, { denominator }),
    };
  });
}
