import type { EncodedPrompt } from "@rlhf/core/records";
import { maskedMean } from "@rlhf/tensor";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { responseLogProbs } from "./response_log_probs.ts";
import { inParts } from "./responses.ts";
import { type Rollout, type RolloutOptions, rollout } from "./rollout.ts";
import { scopedTensors } from "./scoped_tensors.ts";

/** A rollout whose `oldLogProbs` come from the forward pass that training uses. */
export interface TrainingRollout<P extends EncodedPrompt = EncodedPrompt> extends Rollout<P> {
  /** max |Δ log π| over the tokens, between sampler and training forward pass of the same weights. */
  readonly samplingGap: number;
  /** Of the policy that sampled, mean over the response tokens, in nats. */
  readonly entropy: number;
}

/**
 * A {@link rollout} to train on. The sampler's kernels round differently from those of the training forward pass, so
 * the log-probabilities are computed again with the latter: the ratio of the first update is then 1.
 *
 * @param microBatchSize episodes per forward pass; limits memory, does not change the result
 */
export const trainingRollout = Effect.fn("bandit-env.trainingRollout")(function* <P extends EncodedPrompt>(
  options: RolloutOptions<P> & { readonly microBatchSize: number },
) {
  const { microBatchSize, ...sampling } = options;
  const { policy, temperature } = sampling;
  const sampled = yield* Effect.interruptible(rollout(sampling));
  const { logProbs, gap, meanEntropy } = yield* scopedTensors(() => {
    const { logProbs, entropy } = inParts(sampled, microBatchSize, (part) => ({
      ...responseLogProbs(policy, part, { temperature }),
    }));
    return {
      logProbs,
      gap: tf.max(tf.abs(tf.sub(logProbs, sampled.oldLogProbs))),
      meanEntropy: maskedMean(entropy, sampled.mask),
    };
  });
  const [[samplingGap], [entropy]] = yield* Effect.promise(() =>
    Promise.all([gap.data(), meanEntropy.data()]),
  );
  const result: TrainingRollout<P> = {
    ...sampled,
    oldLogProbs: logProbs,
    samplingGap: samplingGap!,
    entropy: entropy!,
  };
  return result;
});
