import type { TokenBatch } from "@rlhf/data";
import type { LossWithMetrics } from "@rlhf/optim";
import { maskedMean } from "@rlhf/tensor";
import { type Model, nextTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/**
 * The pretraining term of PPO-ptx on a micro-batch of text (Ouyang et al. 2022, equation 2):
 *
 *     loss = −γ_ptx · mean over tokens of log π(token | text before it)
 *
 * It is meant to be accumulated with PPO's loss into one optimizer step: Adam divides by the gradient's own scale,
 * so a step of its own would make γ_ptx meaningless.
 *
 * @param options.denominator tokens to divide by: the targets of all micro-batches of the step together. Parts then
 *   add up to the mean over all of them.
 */
export function ptxLoss(
  policy: Model,
  batch: TokenBatch,
  options: { readonly coefficient: number; readonly denominator: number },
): LossWithMetrics {
  const { logProbs } = nextTokenLogProbs(policy, toSequences(batch));
  const targets = tf.tensor2d(batch.lossMask, [batch.batch, batch.time]);
  const loss = tf.neg(maskedMean(logProbs, targets, { denominator: options.denominator })) as tf.Scalar;
  return { loss: tf.mul(loss, options.coefficient) as tf.Scalar, metrics: { ptxLoss: loss } };
}
