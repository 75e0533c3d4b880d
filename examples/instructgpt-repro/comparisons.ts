import { type EncodedRanking, fold, integers, type Key, key, type Ranking, type Tokens } from "@rlhf/core";
import { collectRankings, type SimulatedLabelers, simulatedLabelers } from "@rlhf/labeler";
import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import { Effect } from "effect";
import { answer } from "./answer.ts";
import type { Config } from "./config.ts";
import type { Asked } from "./encode.ts";
import type { Setting } from "./setting.ts";
import type { TaskPrompt } from "./tasks.ts";

/** A ranking with its tokens and who made it. */
export type LabeledRanking = EncodedRanking & { readonly labeler: string };

/** What the reward model is trained on and measured with. */
export interface Comparisons {
  readonly training: ReadonlyArray<LabeledRanking>;
  readonly validation: ReadonlyArray<LabeledRanking>;
  /** The validation prompts again, once for each held-out labeller. */
  readonly heldOut: ReadonlyArray<ReadonlyArray<LabeledRanking>>;
  /** The prompts that every training labeller ranked, once for each of them. */
  readonly overlap: ReadonlyArray<ReadonlyArray<LabeledRanking>>;
  /** All that were collected, as text. */
  readonly texts: ReadonlyArray<Ranking>;
}

/** A prompt with the answers that the policy wrote. */
export interface Answered {
  readonly asked: Asked;
  readonly answers: ReadonlyArray<Tokens>;
}

/** Those who rank in training, and those who only judge. */
export const labelersOf = ({
  config,
  data,
}: Pick<Setting, "config" | "data">): SimulatedLabelers<TaskPrompt> =>
  simulatedLabelers({
    criteria: data.criteria,
    key: fold(key(config.seed), "labelers"),
    temperature: config.comparing.noise,
  });

/**
 * The policy writes K answers to every prompt, K drawn from `fewest` to `most` as InstructGPT's 4 to 9, and simulated
 * labellers rank them: some of the training labellers each prompt, and for the prompts kept for validation every held-out
 * labeller too.
 */
export const collectComparisons = Effect.fn("collectComparisons")(function* (input: {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<Asked>;
  readonly labelers: SimulatedLabelers<TaskPrompt>;
  readonly tokenizer: Tokenizer;
  readonly config: Config;
  readonly key: Key;
}) {
  const { labelers, tokenizer, config, key } = input;
  const { validationShare, overlap } = config.comparing;
  const answered = yield* writeAnswers({
    ...input,
    prompts: input.prompts.slice(0, config.comparing.prompts),
  });
  const samples = answered.map(({ asked, answers }) => ({
    prompt: asked.prompt,
    responses: answers.map((tokens) => tokenizer.decode(tokens, { skipSpecial: true })),
  }));
  const collected = yield* collectRankings({
    samples,
    labelers: labelers.training,
    key: fold(key, "labelers"),
    perPrompt: config.comparing.labelers,
    overlap,
  });
  const indexOf = new Map(samples.map(({ prompt }, i) => [prompt.text, i]));
  const inTokens = (ranking: Ranking): LabeledRanking => {
    const { asked, answers } = answered[indexOf.get(ranking.prompt)!]!;
    return {
      prompt: asked.tokens,
      responses: answers,
      ranks: ranking.ranks,
      labeler: ranking.labeler ?? "",
    };
  };
  const rankings = collected.rankings.map(inTokens);
  const validation = Math.ceil(samples.length * validationShare);
  const heldOut = labelers.heldOut.map((labeler) =>
    samples.slice(0, validation).map(({ prompt, responses }) => {
      const ranks = labeler.rank(prompt, responses);
      return inTokens({ prompt: prompt.text, responses, ranks, labeler: labeler.name });
    }),
  );
  const comparisons: Comparisons = {
    training: rankings.slice(validation * config.comparing.labelers),
    validation: rankings.slice(0, validation * config.comparing.labelers),
    heldOut,
    overlap: labelers.training.map(({ name }) =>
      collected.overlap.filter(({ labeler }) => labeler === name).map(inTokens),
    ),
    texts: collected.rankings,
  };
  return comparisons;
});

const writeAnswers = Effect.fnUntraced(function* (input: {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<Asked>;
  readonly tokenizer: Tokenizer;
  readonly config: Config;
  readonly key: Key;
}) {
  const { policy, prompts, config, key } = input;
  const { fewest, most } = config.comparing;
  const counts = integers(fold(key, "K"), prompts.length, most - fewest + 1).map((more) => fewest + more);
  const repeated = prompts.flatMap((prompt, i) => Array.from({ length: counts[i]! }, () => prompt.tokens));
  const generations = yield* answer(input, {
    stage: "answers to compare",
    model: policy,
    prompts: repeated,
    temperature: config.ppo.temperature,
    key: fold(key, "answers"),
  });
  let end = 0;
  return prompts.map((asked, i): Answered => {
    const start = end;
    end += counts[i]!;
    return { asked, answers: generations.slice(start, end).map(({ tokens }) => tokens) };
  });
});
