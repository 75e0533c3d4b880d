import { type Responses, responseLogProbs } from "@rlhf/bandit-env";
import type { LossWithMetrics } from "@rlhf/optim";
import { clippedSurrogate } from "@rlhf/policy-gradient";
import { maskedMean } from "@rlhf/tensor";
import type { Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/**
 * The policy's loss on a micro-batch: forward pass and clipped surrogate. Parts of a minibatch of `denominator`
 * tokens add up to the loss and the metrics of the whole.
 */
export function policyLoss(
  policy: Model,
  batch: Responses & { readonly oldLogProbs: tf.Tensor2D; readonly advantages: tf.Tensor2D },
  options: { readonly temperature: number; readonly clipRange: number; readonly denominator: number },
): LossWithMetrics {
  const { mask, oldLogProbs, advantages } = batch;
  const { clipRange, denominator } = options;
  const { logProbs } = responseLogProbs(policy, batch, options);
  const surrogate = { logProbs, oldLogProbs, advantages, mask, clipRange, denominator };
  const { loss, clipFraction, approxKl, ratio } = clippedSurrogate(surrogate);
  return {
    loss,
    metrics: {
      clipFraction,
      approxKl,
      ratio: maskedMean(ratio, mask, { denominator }),
      ratioDeviation: tf.max(tf.abs(tf.sub(ratio, 1))) as tf.Scalar,
    },
  };
}
