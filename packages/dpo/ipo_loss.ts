import * as tf from "@tensorflow/tfjs-core";
import { implicitLead, type PairLogProbs } from "./implicit_lead.ts";

/**
 * Identity preference optimization (Azar et al. 2023, arXiv:2310.12036, equation 17), one loss a pair, `[pairs]`: it does not
 * push a pair further apart than 1/(2τ), however sure the labels are.
 *
 *     loss = (h − 1/(2τ))²
 *
 * @param pairs log-probabilities as *means* over the tokens of a response: the paper's authors told TRL's that their results are
 *   with this normalization, without which the loss grows with the length.
 * @param tau τ, above 0.
 * @throws RangeError when the shapes differ.
 */
export function ipoLoss(pairs: PairLogProbs, { tau }: { readonly tau: number }): tf.Tensor1D {
  return tf.tidy(() => tf.square(tf.sub(implicitLead(pairs), 1 / (2 * tau))));
}
