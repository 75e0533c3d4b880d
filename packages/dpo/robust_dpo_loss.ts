import * as tf from "@tensorflow/tfjs-core";
import { logSigmoid } from "./_log_sigmoid.ts";
import { implicitLead, type PairLogProbs } from "./implicit_lead.ts";

/**
 * Robust DPO (Chowdhury et al. 2024, arXiv:2403.00409, equation 13), one loss a pair, `[pairs]`: its mean over labels of
 * which a share ε is flipped is DPO's loss on the right labels.
 *
 *     loss = (−(1 − ε) log σ(β h) + ε log σ(−β h)) / (1 − 2ε)
 *
 * @param pairs log-probabilities summed over the tokens of a response.
 * @param beta β, above 0.
 * @param flipRate ε, from 0 to below ½.
 * @throws RangeError when the shapes differ, or ε is not below ½.
 */
export function robustDpoLoss(
  pairs: PairLogProbs,
  { beta, flipRate }: { readonly beta: number; readonly flipRate: number },
): tf.Tensor1D {
  if (!(flipRate >= 0 && flipRate < 0.5)) {
    throw new RangeError(
      `Cannot compute the loss of robust DPO: flipRate must lie in [0, 0.5), got ${flipRate}`,
    );
  }
  return tf.tidy(() => {
    const lead = tf.mul(implicitLead(pairs), beta);
    const asLabeled = tf.mul(logSigmoid(lead), 1 - flipRate);
    const flipped = tf.mul(logSigmoid(tf.neg(lead)), flipRate);
    return tf.div(tf.sub(flipped, asLabeled), 1 - 2 * flipRate) as tf.Tensor1D;
  });
}
