import * as tf from "@tensorflow/tfjs-core";
import { k1 } from "./estimators.ts";

/**
 * The reward of every response token: a KL penalty at each, the sequence's score at the last (Ziegler et al. 2019,
 * section 2; Ouyang et al. 2022, equation 2).
 *
 *     rewardₜ = −β (log πₜ − log π₀ₜ) + score · [t is the last real token]
 *
 * The penalty is the signed estimator k1: a token less likely under the policy than under the reference earns a
 * bonus, and clamping that at 0 would bias the penalty. The score's own conventions (missing end of sequence,
 * truncation) belong to whoever made the score.
 *
 * @param logProbs of the sampled tokens under the policy that sampled them, `[batch, response]`.
 * @param refLogProbs the same under the reference, `[batch, response]`.
 * @param scores one verdict a sequence, `[batch]`.
 * @param mask 1 for the tokens of the response, end of sequence included; every row is a run of ones, `[batch, response]`.
 * @param klCoefficient β, ≥ 0.
 * @returns `[batch, response]`, 0 where the mask is 0.
 * @throws RangeError when the shapes do not agree.
 * @example
 * ```ts
 * import { penalizedRewards } from "@rlhf/kl/penalty";
 * import { useBackend } from "@rlhf/tensor/backend";
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * await useBackend("auto");
 * const rewards = penalizedRewards({
 *   logProbs: tf.tensor2d([[-1, -2]]),
 *   refLogProbs: tf.tensor2d([[-2, -2]]),
 *   scores: tf.tensor1d([1]),
 *   mask: tf.ones([1, 2]),
 *   klCoefficient: 0.25,
 * });
 * console.log(await rewards.array()); // [[-0.25, 1]]
 * ```
 */
export function penalizedRewards({
  logProbs,
  refLogProbs,
  scores,
  mask,
  klCoefficient,
}: {
  readonly logProbs: tf.Tensor2D;
  readonly refLogProbs: tf.Tensor2D;
  readonly scores: tf.Tensor1D;
  readonly mask: tf.Tensor2D;
  readonly klCoefficient: number;
}): tf.Tensor2D {
  if (!tf.util.arraysEqual(logProbs.shape, mask.shape) || scores.shape[0] !== logProbs.shape[0]) {
    throw new RangeError(
      `Cannot penalize rewards: mask [batch, response] and scores [batch] must match logProbs [${logProbs.shape.join(", ")}], got [${mask.shape.join(", ")}] and [${scores.shape.join(", ")}]`,
    );
  }
  return tf.tidy(() => {
    const penalty = tf.mul(k1({ logProbs, refLogProbs }), -klCoefficient);
    const atLast = tf.mul(lastRealToken(mask), tf.expandDims(scores, 1));
    return tf.add(tf.mul(penalty, mask), atLast) as tf.Tensor2D;
  });
}

/** 1 at the last real token of every row, 0 elsewhere. */
function lastRealToken(mask: tf.Tensor2D): tf.Tensor {
  const next = tf.pad(tf.slice(mask, [0, 1], [-1, -1]), [
    [0, 0],
    [0, 1],
  ]);
  return tf.mul(mask, tf.sub(1, next));
}
