import { maskedMean } from "@rlhf/tensor/masked_statistics";
import * as tf from "@tensorflow/tfjs-core";

/**
 * Language-modelling loss: the mean of `−log p(xₜ | x₍<ₜ₎)` over the tokens that count, in nats. For a masked language model
 * the same mean over `−log p(xₜ | corrupted x)`.
 *
 * Radford et al. 2018, "Improving language understanding by generative pre-training", equation 1. The denominator is a number
 * of *tokens*, not of sequences.
 *
 * @param logProbs `[batch, time]`, log-probability of the token at each place
 * @param lossMask `[batch, time]`, 1 where the token counts
 * @param tokens the denominator; Σ lossMask when left out. For a micro-batch: the tokens of the whole batch
 * @throws RangeError when the shapes differ
 */
export function nextTokenLoss({
  logProbs,
  lossMask,
  tokens,
}: {
  readonly logProbs: tf.Tensor2D;
  readonly lossMask: tf.Tensor2D;
  readonly tokens?: number;
}): tf.Scalar {
  return tf.tidy(() => tf.neg(maskedMean(logProbs, lossMask, { denominator: tokens })));
}
