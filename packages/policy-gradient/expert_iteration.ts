import { bestOfN, type Candidates, type Score } from "@rlhf/bandit-env";
import { Progress } from "@rlhf/core/progress";
import { fold, type Key, permutation } from "@rlhf/core/random";
import type { EncodedDemonstration, EncodedPrompt } from "@rlhf/core/records";
import { Count, NonNegative, Positive, setting } from "@rlhf/core/setting";
import { finetune, SftConfig } from "@rlhf/sft";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";

/** Settings of expert iteration. Those of the fine-tuning inside are `SftConfig`'s. */
export const ExpertIterationConfig = Schema.Struct({
  rounds: setting(
    Count,
    4,
    "Rounds of sampling, choosing and fine-tuning. Llama 2: 4 before PPO; 1 is RAFT's step",
  ),
  promptsPerRound: setting(Count, 256, "Prompts sampled from in a round"),
  n: setting(Count, 8, "Responses to each prompt, of which the best is kept. Dong et al. 2023: 8"),
  validationPrompts: setting(
    Count,
    32,
    "Prompts of a round whose best response measures, and teaches nothing",
  ),
  maxNewTokens: setting(Count, 32, "Longest response, end of sequence included. A length for short answers"),
  temperature: setting(Positive, 1, "Divides the logits in sampling"),
  missingEosPenalty: setting(
    NonNegative,
    1,
    "Taken off the score of a response that did not end. TRL's examples: 1",
  ),
  sft: setting(SftConfig, {}, "Settings of every round's fine-tuning"),
}).check(
  Schema.makeFilter(
    ({ promptsPerRound, validationPrompts }) =>
      validationPrompts < promptsPerRound ||
      `validationPrompts must be below promptsPerRound (${promptsPerRound}), got ${validationPrompts}`,
  ),
);
export type ExpertIterationConfig = typeof ExpertIterationConfig.Type;

/**
 * Rejection-sampling fine-tuning, round after round (expert iteration; RAFT, Dong et al. 2023, arXiv:2304.06767; Llama 2, Touvron et
 * al. 2023, section 3.2.3): the policy answers each prompt n times, and is fine-tuned on its best answers. A round's prompts are
 * new ones as long as there are any.
 *
 * @param policy trained in place
 * @returns the policy, and for each round the mean score of all samples and of those chosen
 * Fails as `finetune` of `@rlhf/sft` and as the score do.
 */
export const expertIteration = Effect.fn("policy-gradient.expertIteration")(function* <E, R>(input: {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  readonly score: Score<E, R>;
  readonly config: ExpertIterationConfig;
  /** A tokenizer's `specials` will do. */
  readonly specials: { readonly eos: number };
  readonly key: Key;
}) {
  const { policy, prompts, score, config, specials, key } = input;
  const { n, maxNewTokens, temperature, missingEosPenalty, validationPrompts } = config;
  const progress = yield* Progress;
  const rounds: Array<{ readonly meanScore: number; readonly chosenScore: number }> = [];
  for (let round = 0; round < config.rounds; round++) {
    const roundKey = fold(fold(key, "round"), round);
    const candidates = yield* bestOfN({
      policy,
      prompts: promptsOf(round, prompts, config.promptsPerRound, key),
      n,
      score,
      missingEosPenalty,
      maxNewTokens,
      eos: specials.eos,
      temperature,
      key: roundKey,
    });
    const all = candidates.flatMap(({ scores }) => scores);
    const chosen = candidates.map(({ scores }) => scores[0]!);
    rounds.push({ meanScore: mean(all), chosenScore: mean(chosen) });
    const message = `round ${round + 1} of ${config.rounds}: mean score ${mean(all).toFixed(3)}, of the best of ${n} ${mean(chosen).toFixed(3)}`;
    yield* progress.publish({ _tag: "Note", stage: "expert-iteration", message });
    const demonstrations = candidates.map(bestDemonstration);
    yield* finetune({
      model: policy,
      demonstrations: demonstrations.slice(validationPrompts),
      validation: demonstrations.slice(0, validationPrompts),
      config: config.sft,
      key: roundKey,
    });
  }
  return { policy, rounds: rounds as ReadonlyArray<(typeof rounds)[number]> };
});

/** The best response to a prompt as a demonstration. */
export function bestDemonstration({ prompt, episodes }: Candidates): EncodedDemonstration {
  return { prompt: prompt.tokens, response: episodes[0]!.response.tokens };
}

/** `count` prompts, all different where there are enough; every round goes on where the last one stopped. */
function promptsOf(round: number, prompts: ReadonlyArray<EncodedPrompt>, count: number, key: Key) {
  if (prompts.length === 0) throw new RangeError("Cannot train: at least one prompt is required, got none");
  const order = permutation(fold(key, "prompts"), prompts.length);
  return Array.from({ length: count }, (_, i) => prompts[order[(round * count + i) % prompts.length]!]!);
}

function mean(values: ReadonlyArray<number>): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
