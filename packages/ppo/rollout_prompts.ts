import { inParts, type Rollout, responseLogProbs, rollout, scopedTensors } from "@rlhf/bandit-env";
import { fold } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { Learner } from "./services.ts";

/** A rollout whose `oldLogProbs` come from the forward pass that training uses. */
export interface PpoRollout extends Rollout {
  /** max |Δ log π| over the tokens, between sampler and training forward pass of the same weights. */
  readonly samplingGap: number;
}

/**
 * Samples a response to each prompt. The sampler's kernels round differently from those of the training forward
 * pass, so the log-probabilities are computed again with the latter: the ratio of the first update is then 1.
 */
export const rolloutPrompts = Effect.fn("ppo.rolloutPrompts")(function* (
  prompts: ReadonlyArray<EncodedPrompt>,
) {
  const { config, eos, key, state } = yield* Learner;
  const { policy, iteration } = yield* Ref.get(state);
  const { maxNewTokens, temperature } = config;
  const sampled = yield* Effect.interruptible(
    rollout({
      policy,
      prompts,
      maxNewTokens,
      eos,
      temperature,
      key: fold(fold(key, "rollout"), iteration),
    }),
  );
  const { logProbs, gap } = yield* scopedTensors(() => {
    const { logProbs } = inParts(sampled, config.microBatchSize, (part) => ({
      logProbs: responseLogProbs(policy, part, { temperature }).logProbs,
    }));
    return { logProbs, gap: tf.max(tf.abs(tf.sub(logProbs, sampled.oldLogProbs))) };
  });
  const [samplingGap] = yield* Effect.promise(() => gap.data());
  const result: PpoRollout = { ...sampled, oldLogProbs: logProbs, samplingGap: samplingGap! };
  return result;
});
