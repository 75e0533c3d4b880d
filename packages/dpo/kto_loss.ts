import * as tf from "@tensorflow/tfjs-core";
import { assertVectors } from "./_shapes.ts";

/**
 * Kahneman–Tversky optimization (Ethayarajh et al. 2024, arXiv:2402.01306, equation 8), one loss a response, `[responses]`: from single
 * responses known to be desirable or not, with losses and gains judged against the KL to the reference.
 *
 *     loss = λ_D (1 − σ(β (log π/π₀ − z)))      for a desirable response
 *            λ_U (1 − σ(β (z − log π/π₀)))      for an undesirable one
 *
 * @param logProbs log π, summed over the tokens of a response, `[responses]`.
 * @param refLogProbs the same under the reference, `[responses]`.
 * @param desirable 1 for a desirable response, 0 for an undesirable one, `[responses]`.
 * @param kl z, an estimate of KL(π‖π₀) in nats, ≥ 0; it carries no gradient.
 * @param beta β, above 0.
 * @param desirableWeight λ_D, `undesirableWeight` λ_U: above 0; unlike ones make up for unlike numbers of either.
 * @throws RangeError when the shapes differ.
 */
export function ktoLoss({
  logProbs,
  refLogProbs,
  desirable,
  kl,
  beta,
  desirableWeight,
  undesirableWeight,
}: {
  readonly logProbs: tf.Tensor1D;
  readonly refLogProbs: tf.Tensor1D;
  readonly desirable: tf.Tensor1D;
  readonly kl: number;
  readonly beta: number;
  readonly desirableWeight: number;
  readonly undesirableWeight: number;
}): tf.Tensor1D {
  assertVectors("compute the loss of KTO", { logProbs, refLogProbs, desirable });
  return tf.tidy(() => {
    const sign = tf.sub(tf.mul(desirable, 2), 1);
    const gain = tf.mul(tf.sub(tf.sub(logProbs, refLogProbs), kl), sign);
    const weight = tf.add(
      tf.mul(desirable, desirableWeight),
      tf.mul(tf.sub(1, desirable), undesirableWeight),
    );
    return tf.mul(weight, tf.sigmoid(tf.mul(gain, -beta))) as tf.Tensor1D; // 1 − σ(x) = σ(−x)
  });
}
