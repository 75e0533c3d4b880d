import * as tf from "@tensorflow/tfjs-core";
import { logSigmoid } from "./_log_sigmoid.ts";
import { implicitLead, type PairLogProbs } from "./implicit_lead.ts";

/**
 * Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290, equation 7), one loss a pair, `[pairs]`:
 *
 *     loss = −(1 − ε) log σ(β h) − ε log σ(−β h)      h = log π(y_w)/π₀(y_w) − log π(y_l)/π₀(y_l)
 *
 * ε > 0 is conservative DPO, for labels of which a share ε is wrong (Mitchell 2023, "A note on DPO with noisy
 * preferences"): β h then ends at log((1 − ε)/ε) instead of growing without limit.
 *
 * @param pairs log-probabilities summed over the tokens of a response.
 * @param beta β, how much the policy is held to the reference, above 0.
 * @param labelSmoothing ε, from 0 to ½.
 * @throws RangeError when the shapes differ.
 * @example
 * ```ts
 * import { dpoLoss } from "@rlhf/dpo/dpo_loss";
 * import { useBackend } from "@rlhf/tensor/backend";
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * await useBackend("auto");
 * const [likelier, less] = [tf.tensor1d([-9]), tf.tensor1d([-10])];
 * const pairs = { chosen: likelier, rejected: less, refChosen: less, refRejected: likelier };
 * console.log(await dpoLoss(pairs, { beta: 0.1 }).array()); // [0.598], −log σ(0.2)
 * ```
 */
export function dpoLoss(
  pairs: PairLogProbs,
  { beta, labelSmoothing = 0 }: { readonly beta: number; readonly labelSmoothing?: number },
): tf.Tensor1D {
  return tf.tidy(() => {
    const lead = tf.mul(implicitLead(pairs), beta);
    const right = tf.mul(logSigmoid(lead), labelSmoothing - 1);
    if (labelSmoothing === 0) return right as tf.Tensor1D;
    return tf.sub(right, tf.mul(logSigmoid(tf.neg(lead)), labelSmoothing)) as tf.Tensor1D;
  });
}
