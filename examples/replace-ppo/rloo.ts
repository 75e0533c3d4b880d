/** RLOO: four responses to each prompt, each against the mean of the others. No value network. */
import { initState, RlooConfig, trainRloo } from "@rlhf/policy-gradient";
import { Effect } from "effect";
import type { Optimize } from "./last_stage.ts";
import { services, sharedSettings, trainOptions } from "./online.ts";

export const optimize: Optimize = (stage) => {
  const { minibatchSize, epochs, clipRange, klControl } = stage.config.ppo;
  const config = RlooConfig.make({
    ...sharedSettings(stage),
    minibatchSize,
    epochs,
    clipRange,
    klControl,
    groupSize: 4,
  });
  return trainRloo({ ...trainOptions(stage), state: initState(stage.policy, config), config }).pipe(
    Effect.map(({ policy }) => policy),
    Effect.provide(services(stage)),
  );
};
