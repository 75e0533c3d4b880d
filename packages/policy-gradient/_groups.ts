import * as tf from "@tensorflow/tfjs-core";

/** Rewards `[batch]` as `[groups, groupSize]`. */
export function inGroups(rewards: tf.Tensor1D, groupSize: number): tf.Tensor2D {
  if (!Number.isInteger(groupSize) || groupSize < 2 || rewards.rank !== 1 || rewards.size % groupSize !== 0) {
    throw new RangeError(
      `Cannot compare rewards in groups: groupSize must be an integer of at least 2 that divides the rewards [${rewards.shape.join(", ")}], got ${groupSize}`,
    );
  }
  return tf.reshape(rewards, [-1, groupSize]);
}
