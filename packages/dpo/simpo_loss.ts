import * as tf from "@tensorflow/tfjs-core";
import { logSigmoid } from "./_log_sigmoid.ts";
import { assertVectors } from "./_shapes.ts";

/**
 * SimPO (Meng et al. 2024, arXiv:2405.14734, equation 6), one loss a pair, `[pairs]`: mean log-probabilities are the reward, so
 * there is no reference.
 *
 *     loss = −log σ(β (log π(y_w)/|y_w| − log π(y_l)/|y_l|) − γ)
 *
 * @param chosen mean over the tokens of log π of the preferred response, `[pairs]`.
 * @param rejected the same of the other one, `[pairs]`.
 * @param beta β, above 0.
 * @param gamma γ, the margin by which the preferred one should lead, ≥ 0.
 * @throws RangeError when the shapes differ.
 */
export function simpoLoss({
  chosen,
  rejected,
  beta,
  gamma,
}: {
  readonly chosen: tf.Tensor1D;
  readonly rejected: tf.Tensor1D;
  readonly beta: number;
  readonly gamma: number;
}): tf.Tensor1D {
  assertVectors("compute the loss of SimPO", { chosen, rejected });
  return tf.tidy(() => {
    return tf.neg(logSigmoid(tf.sub(tf.mul(tf.sub(chosen, rejected), beta), gamma))) as tf.Tensor1D;
  });
}
