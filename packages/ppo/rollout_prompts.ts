import { trainingRollout } from "@rlhf/bandit-env";
import { fold } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { Learner } from "./services.ts";

/** Samples a response to each prompt, with the log-probabilities of the training forward pass. */
export const rolloutPrompts = Effect.fn("ppo.rolloutPrompts")(function* (
  prompts: ReadonlyArray<EncodedPrompt>,
) {
  const { config, eos, key, state } = yield* Learner;
  const { policy, iteration } = yield* Ref.get(state);
  const { maxNewTokens, temperature, microBatchSize } = config;
  return yield* trainingRollout({
    policy,
    prompts,
    maxNewTokens,
    eos,
    temperature,
    microBatchSize,
    key: fold(fold(key, "rollout"), iteration),
  });
});
