import * as tf from "@tensorflow/tfjs-core";
import { logSigmoid } from "./_log_sigmoid.ts";
import { assertVectors } from "./_shapes.ts";

/**
 * ORPO (Hong et al. 2024, arXiv:2403.07691, equations 6 and 7), one loss a pair, `[pairs]`: fine-tuning on the preferred response and a
 * term that makes the odds of the other one smaller, without a reference. With p the geometric mean of a response's
 * token probabilities:
 *
 *     loss = −log p(y_w) − λ log σ(log odds(y_w) − log odds(y_l))      odds = p / (1 − p)
 *
 * @param chosen log p of the preferred response, the mean over its tokens of log π, `[pairs]`.
 * @param rejected the same of the other one, `[pairs]`.
 * @param lambda λ, ≥ 0.
 * @throws RangeError when the shapes differ.
 */
export function orpoLoss({
  chosen,
  rejected,
  lambda,
}: {
  readonly chosen: tf.Tensor1D;
  readonly rejected: tf.Tensor1D;
  readonly lambda: number;
}): tf.Tensor1D {
  assertVectors("compute the loss of ORPO", { chosen, rejected });
  return tf.tidy(() => {
    const leadOfOdds = tf.sub(logOdds(chosen), logOdds(rejected));
    return tf.neg(tf.add(chosen, tf.mul(logSigmoid(leadOfOdds), lambda))) as tf.Tensor1D;
  });
}

/** log p/(1 − p) from log p. Near p = 1 the probability is held back by float32's resolution, so that no odds are infinite. */
function logOdds(logProb: tf.Tensor): tf.Tensor {
  const p = tf.minimum(tf.exp(logProb), 1 - 2 ** -23);
  return tf.sub(logProb, tf.log(tf.sub(1, p)));
}
