/** DPO on the comparisons that the reward model learned from: no reward model, no samples, and so no KL budget. */
import { DpoConfig, trainDpo } from "@rlhf/dpo";
import { Effect } from "effect";
import type { Optimize } from "./last_stage.ts";

export const optimize: Optimize = (stage) => {
  const { ppo, reward } = stage.config;
  const config = DpoConfig.make({
    batchSize: reward.batchSize,
    learningRate: ppo.policyLearningRate,
    maxGradNorm: ppo.maxGradNorm,
  });
  return Effect.map(trainDpo({ ...stage, config }), ({ model }) => model);
};
