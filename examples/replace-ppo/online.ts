import { Reference, Scorer } from "@rlhf/bandit-env";
import type { Tokens } from "@rlhf/core";
import { scoreEpisodes } from "@rlhf/reward";
import { Layer } from "effect";
import type { LastStage } from "./last_stage.ts";

/** The two services that every online optimizer needs: whom the KL is measured against, and who scores. */
export const services = ({ policy, rewardModel }: LastStage) =>
  Layer.merge(Layer.succeed(Reference, policy), Layer.succeed(Scorer, scoreEpisodes(rewardModel)));

/** Settings of PPO that mean the same to every online optimizer: how much is sampled, and where it stops. */
export function sharedSettings({ config: { ppo } }: LastStage) {
  return {
    iterations: ppo.iterations,
    batchSize: ppo.batchSize,
    microBatchSize: ppo.microBatchSize,
    maxNewTokens: ppo.maxNewTokens,
    temperature: ppo.temperature,
    missingEosPenalty: ppo.missingEosPenalty,
    learningRate: ppo.policyLearningRate,
    warmupIterations: ppo.warmupIterations,
    maxGradNorm: ppo.maxGradNorm,
    ...(ppo.klBudget === undefined ? {} : { klBudget: ppo.klBudget }),
    sampleEvery: ppo.sampleEvery,
    samples: ppo.samples,
  };
}

/** What `train` takes besides state and config. */
export function trainOptions({ prompts, tokenizer, key }: LastStage) {
  const decode = (tokens: Tokens) => tokenizer.decode(tokens, { skipSpecial: true }).trim();
  return { prompts, specials: tokenizer.specials, key, decode };
}
