/**
 * Expert iteration: the best of eight responses to each prompt become demonstrations, and the policy is fine-tuned on them.
 * As many episodes as PPO samples, in four rounds; the KL is measured after each, and the budget stops it between two.
 */
import { Progress } from "@rlhf/core";
import { fold } from "@rlhf/core/random";
import { ExpertIterationConfig, expertIteration } from "@rlhf/policy-gradient";
import { scoreEpisodes } from "@rlhf/reward";
import { cloneModel } from "@rlhf/transformer";
import { Effect } from "effect";
import { klTo } from "./kl_to.ts";
import type { Optimize } from "./last_stage.ts";

const rounds = 4;
/** Responses to each prompt. */
export const candidates = 8;

export const optimize: Optimize = Effect.fn("expert iteration")(function* (stage) {
  const { rewardModel, prompts, tokenizer, key } = stage;
  const { ppo, sft } = stage.config;
  const promptsPerRound = Math.max(2, Math.floor((ppo.iterations * ppo.batchSize) / (rounds * candidates)));
  const config = ExpertIterationConfig.make({
    rounds: 1,
    promptsPerRound,
    n: candidates,
    validationPrompts: Math.ceil(promptsPerRound / 10),
    maxNewTokens: ppo.maxNewTokens,
    temperature: ppo.temperature,
    missingEosPenalty: ppo.missingEosPenalty,
    sft: { ...sft, epochs: 1 },
  });
  const { publish } = yield* Progress;
  const policy = cloneModel(stage.policy);
  for (let round = 0; round < rounds; round++) {
    const own = prompts.slice((round * promptsPerRound) % prompts.length);
    yield* expertIteration({
      policy,
      prompts: own.length < promptsPerRound ? prompts : own.slice(0, promptsPerRound), // new ones as long as there are any
      score: scoreEpisodes(rewardModel),
      config,
      specials: tokenizer.specials,
      key: fold(key, round),
    });
    const measured = prompts.slice(0, ppo.batchSize);
    const kl = yield* klTo({ ...stage, policy, reference: stage.policy, prompts: measured });
    const message = `round ${round + 1} of ${rounds}: ${kl.toFixed(2)} nats from the start`;
    yield* publish({ _tag: "Note", stage: "expert-iteration", message });
    if (kl >= (ppo.klBudget ?? Number.POSITIVE_INFINITY)) break;
  }
  return policy;
});
