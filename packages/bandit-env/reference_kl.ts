import { k1 } from "@rlhf/kl";
import type { Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { responseLogProbs } from "./response_log_probs.ts";
import { inParts } from "./responses.ts";
import type { Rollout } from "./rollout.ts";
import { scopedTensors } from "./scoped_tensors.ts";

/** How far the policy that made a rollout stands from a reference, as {@link compareToReference} measures it. */
export interface ReferenceKl {
  /** log π₀ of every response token, `[batch, response]`. */
  readonly refLogProbs: tf.Tensor2D;
  /** KL to the reference of each sequence, summed over its tokens (k1, may be negative), in nats. */
  readonly sequenceKl: Float32Array;
  /** Mean of `sequenceKl`. */
  readonly meanKl: number;
}

/** The log-probabilities that a reference gives to a rollout's responses, and the KL to it. */
export const compareToReference = Effect.fn("bandit-env.compareToReference")(function* <T extends Rollout>(
  rollout: T,
  options: { readonly reference: Model; readonly temperature: number; readonly microBatchSize: number },
) {
  const { mask, oldLogProbs: logProbs } = rollout;
  const { refLogProbs, kl } = yield* scopedTensors(() => {
    const { refLogProbs } = inParts(rollout, options.microBatchSize, (part) => ({
      refLogProbs: responseLogProbs(options.reference, part, options).logProbs,
    }));
    return { refLogProbs, kl: tf.sum(tf.mul(k1({ logProbs, refLogProbs }), mask), 1) };
  });
  const sequenceKl = Float32Array.from(yield* Effect.promise(() => kl.data()));
  const added: ReferenceKl = {
    refLogProbs,
    sequenceKl,
    meanKl: sequenceKl.reduce((sum, value) => sum + value, 0) / sequenceKl.length,
  };
  return { ...rollout, ...added };
});
