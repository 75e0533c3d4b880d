/** Online DPO: two fresh responses to each prompt, ranked by the reward model. β of its loss is fixed; the budget stops it. */
import { initState, OnlineDpoConfig, trainOnlineDpo } from "@rlhf/dpo";
import { Effect } from "effect";
import type { Optimize } from "./last_stage.ts";
import { services, sharedSettings, trainOptions } from "./online.ts";

export const optimize: Optimize = (stage) => {
  const { minibatchSize, microBatchSize, warmupIterations } = stage.config.ppo;
  const responsesPerPrompt = 2;
  const prompts = (episodes: number) => Math.ceil(episodes / responsesPerPrompt); // its minibatches are counted in prompts
  const config = OnlineDpoConfig.make({
    ...sharedSettings(stage),
    responsesPerPrompt,
    minibatchSize: prompts(minibatchSize),
    microBatchSize: prompts(microBatchSize),
    warmupIterations: Math.max(1, warmupIterations),
  });
  return trainOnlineDpo({ ...trainOptions(stage), state: initState(stage.policy), config }).pipe(
    Effect.map(({ policy }) => policy),
    Effect.provide(services(stage)),
  );
};
