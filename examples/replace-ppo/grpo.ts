/** GRPO: four responses to each prompt, normalized by their mean and deviation, a KL term in the loss. No value network. */
import { GrpoConfig, initState, trainGrpo } from "@rlhf/policy-gradient";
import { Effect } from "effect";
import type { Optimize } from "./last_stage.ts";
import { services, sharedSettings, trainOptions } from "./online.ts";

export const optimize: Optimize = (stage) => {
  const { minibatchSize, epochs, clipRange, klControl } = stage.config.ppo;
  const config = GrpoConfig.make({
    ...sharedSettings(stage),
    minibatchSize,
    epochs,
    clipRange,
    klControl,
    groupSize: 4,
  });
  return trainGrpo({ ...trainOptions(stage), state: initState(stage.policy, config), config }).pipe(
    Effect.map(({ policy }) => policy),
    Effect.provide(services(stage)),
  );
};
