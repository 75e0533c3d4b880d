/**
 * REINFORCE with the batch's mean as baseline. Its iteration is one optimizer step, so PPO's minibatch is its batch: the
 * same number of episodes and of steps.
 */
import { initState, ReinforceConfig, trainReinforce } from "@rlhf/policy-gradient";
import { Effect } from "effect";
import type { Optimize } from "./last_stage.ts";
import { services, sharedSettings, trainOptions } from "./online.ts";

export const optimize: Optimize = (stage) => {
  const { batchSize, minibatchSize, klControl } = stage.config.ppo;
  const settings = sharedSettings(stage);
  const steps = batchSize / minibatchSize;
  const config = ReinforceConfig.make({
    ...settings,
    iterations: settings.iterations * steps,
    warmupIterations: settings.warmupIterations * steps,
    batchSize: minibatchSize,
    klControl,
  });
  return trainReinforce({ ...trainOptions(stage), state: initState(stage.policy, config), config }).pipe(
    Effect.map(({ policy }) => policy),
    Effect.provide(services(stage)),
  );
};
