import * as tf from "@tensorflow/tfjs-core";
import { assertVectors } from "./_shapes.ts";

/** Log-probabilities of the responses of pairs under policy π and reference π₀, all `[pairs]`. */
export interface PairLogProbs {
  /** log π of the preferred response. */
  readonly chosen: tf.Tensor1D;
  /** log π of the other one. */
  readonly rejected: tf.Tensor1D;
  /** log π₀ of the preferred response. */
  readonly refChosen: tf.Tensor1D;
  /** log π₀ of the other one. */
  readonly refRejected: tf.Tensor1D;
}

/**
 * By how much the policy prefers the chosen response more than the reference does: the lead of its implicit reward
 * log π/π₀ (Rafailov et al. 2023, arXiv:2305.18290, section 4), without β, `[pairs]`.
 *
 *     h = log π(y_w)/π₀(y_w) − log π(y_l)/π₀(y_l)
 *
 * @throws RangeError unless all are vectors of one length.
 */
export function implicitLead({ chosen, rejected, refChosen, refRejected }: PairLogProbs): tf.Tensor1D {
  assertVectors("compare a pair", { chosen, rejected, refChosen, refRejected });
  return tf.tidy(() => tf.sub(tf.sub(chosen, refChosen), tf.sub(rejected, refRejected)));
}
