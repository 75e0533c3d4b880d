import * as tf from "@tensorflow/tfjs-core";
import { inGroups } from "./_groups.ts";

/**
 * Advantages against the mean reward of the *other* episodes of the group: a baseline that does not depend on the
 * episode it is for, so the gradient stays unbiased.
 *
 *     Aᵢ = rᵢ − 1/(k − 1) · Σⱼ≠ᵢ rⱼ
 *
 * With the k responses to one prompt as a group this is RLOO (Kool et al. 2019; Ahmadian et al. 2024,
 * arXiv:2402.14740, section 3.3); with the whole batch as one group it is an average-reward baseline for REINFORCE
 * (Williams 1992).
 *
 * @param rewards one an episode, the episodes of a group side by side, `[batch]`.
 * @param groupSize k, at least 2; divides the batch.
 * @returns `[batch]`
 * @throws RangeError when the batch does not consist of such groups.
 * @example
 * ```ts
 * import { leaveOneOut } from "@rlhf/policy-gradient/leave_one_out";
 * import { useBackend } from "@rlhf/tensor/backend";
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * await useBackend("auto");
 * const rewards = tf.tensor1d([1, 0, 0, 3]); // two responses to each of two prompts
 * console.log(await leaveOneOut({ rewards, groupSize: 2 }).array()); // [1, -1, -3, 3]
 * ```
 */
export function leaveOneOut({
  rewards,
  groupSize,
}: {
  readonly rewards: tf.Tensor1D;
  readonly groupSize: number;
}): tf.Tensor1D {
  return tf.tidy(() => {
    const groups = inGroups(rewards, groupSize);
    // r − mean of the others = (r − mean of all) · k / (k − 1)
    const deviations = tf.sub(groups, tf.mean(groups, 1, true));
    return tf.reshape(tf.mul(deviations, groupSize / (groupSize - 1)), [-1]);
  });
}
