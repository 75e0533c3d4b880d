import * as tf from "@tensorflow/tfjs-core";
import { inGroups } from "./_groups.ts";

/** What GRPO divides the advantages of a group by. */
export type AdvantageScale = "deviation" | "none";

/**
 * GRPO's advantages: rewards relative to those of the other responses to the same prompt (Shao et al. 2024,
 * arXiv:2402.03300, section 4.1.2).
 *
 *     Aᵢ = (rᵢ − mean(r)) / (std(r) + 10⁻⁴)      scale "deviation"
 *     Aᵢ = rᵢ − mean(r)                          scale "none"
 *
 * The deviation is that of a sample (k − 1), as in TRL. Dividing by it gives prompts whose responses all score nearly
 * alike as much say as the others, a bias towards too easy and too hard ones; Dr. GRPO (Liu et al. 2025,
 * arXiv:2503.20783) leaves it out.
 *
 * @param rewards one an episode, the responses to a prompt side by side, `[batch]`.
 * @param groupSize k, responses to each prompt, at least 2; divides the batch.
 * @returns `[batch]`
 * @throws RangeError when the batch does not consist of such groups.
 */
export function groupAdvantages({
  rewards,
  groupSize,
  scale,
}: {
  readonly rewards: tf.Tensor1D;
  readonly groupSize: number;
  readonly scale: AdvantageScale;
}): tf.Tensor1D {
  return tf.tidy(() => {
    const groups = inGroups(rewards, groupSize);
    const deviations = tf.sub(groups, tf.mean(groups, 1, true));
    if (scale === "none") return tf.reshape(deviations, [-1]);
    const variance = tf.div(tf.sum(tf.square(deviations), 1, true), groupSize - 1);
    return tf.reshape(tf.div(deviations, tf.add(tf.sqrt(variance), 1e-4)), [-1]);
  });
}
