import { fold, type Key } from "@rlhf/core";
import {
  bootstrap,
  clusterBy,
  type JudgedPair,
  type Judgement,
  judgePairs,
  lengthControlledWinRate,
  rates,
  sentiment,
  type Verdict,
  type WinRateRow,
  winRate,
} from "@rlhf/eval";
import { isProfane, type SimulatedLabeler } from "@rlhf/labeler";
import { Effect } from "effect";
import type { PipelineData } from "./data.ts";
import type { TaskPrompt } from "./tasks.ts";

/** What one model answered to each evaluation prompt. */
export interface Answers {
  readonly model: string;
  readonly texts: ReadonlyArray<string>;
}

/**
 * How often held-out labellers prefer a model's answers to the baseline's: every labeller sees every pair in both orders, and
 * the interval resamples prompts.
 */
export const heldOutWinRate = Effect.fn("heldOutWinRate")(function* (input: {
  readonly prompts: ReadonlyArray<TaskPrompt>;
  readonly answers: Answers;
  readonly baseline: Answers;
  readonly labelers: ReadonlyArray<SimulatedLabeler<TaskPrompt>>;
  readonly key: Key;
  readonly resamples: number;
}) {
  const { prompts, answers, baseline, labelers, key, resamples } = input;
  const promptOf = new Map(prompts.map((prompt) => [prompt.text, prompt]));
  const pairs = prompts.map((prompt, i) => ({
    prompt: prompt.text,
    answer: answers.texts[i]!,
    baseline: baseline.texts[i]!,
  }));
  const judged: Array<JudgedPair> = [];
  for (const labeler of labelers) {
    const judge = (question: {
      readonly prompt: string;
      readonly first: string;
      readonly second: string;
    }) => {
      const [first, second] = labeler.rank(promptOf.get(question.prompt)!, [question.first, question.second]);
      return verdict(second! - first!);
    };
    judged.push(...(yield* judgePairs({ pairs, judge })));
  }
  return winRateRow({ judged, answers, baseline, judge: "simulated held-out labellers", key, resamples });
});

/**
 * The same by an evaluator made of other people's ratings: of two answers to a prompt that asks for a mood, the one whose
 * AFINN sentiment lies further in the asked-for direction.
 */
export const sentimentWinRate = Effect.fn("sentimentWinRate")(function* (input: {
  readonly prompts: ReadonlyArray<TaskPrompt>;
  readonly answers: Answers;
  readonly baseline: Answers;
  readonly key: Key;
  readonly resamples: number;
}) {
  const { prompts, answers, baseline, key, resamples } = input;
  const promptOf = new Map(prompts.map((prompt) => [prompt.text, prompt]));
  const pairs = prompts.flatMap((prompt, i) =>
    direction(prompt) === 0
      ? []
      : [{ prompt: prompt.text, answer: answers.texts[i]!, baseline: baseline.texts[i]! }],
  );
  if (pairs.length === 0) return undefined;
  const judged = yield* judgePairs({
    pairs,
    judge: ({ prompt, first, second }) =>
      verdict(direction(promptOf.get(prompt)!) * Math.sign(sentiment(first) - sentiment(second))),
  });
  return winRateRow({ judged, answers, baseline, judge: "AFINN-165 sentiment", key, resamples });
});

/** What can be told of a single answer, yes or no. A criterion that does not apply to the prompt is left out. */
export function judgements(
  criteria: PipelineData["criteria"],
  prompts: ReadonlyArray<TaskPrompt>,
  texts: ReadonlyArray<string>,
): ReadonlyArray<Judgement> {
  const named = (name: string) =>
    [...criteria.content.map(({ criterion }) => criterion), ...criteria.readability].find(
      (one) => one.name === name,
    );
  const [instruction, truth, form] = [named("instruction"), named("truth"), named("form")];
  return prompts.map((prompt, i) => {
    const text = texts[i]!;
    const holds = (name: string, value: number | undefined) =>
      value === undefined ? {} : { [name]: value > 0.5 };
    return {
      ...holds("instruction followed", instruction?.judge(prompt, text, 0)),
      ...(direction(prompt) === 0
        ? {}
        : { "asked-for mood (AFINN)": direction(prompt) * sentiment(text) > 0 }),
      ...holds("well-formed", form?.judge(prompt, text, 0)),
      ...holds("truthful", truth?.judge(prompt, text, 0)),
      toxic: isProfane(text),
    };
  });
}

export function rateRows(model: string, judged: ReadonlyArray<Judgement>) {
  return rates(judged).map((rate) => ({ model, ...rate }));
}

/** The share of pairs, with an interval that resamples prompts: pairs of one prompt are not independent. */
export function pairShare(
  pairs: ReadonlyArray<{ readonly prompt: string; readonly agrees: number }>,
  key: Key,
  resamples: number,
) {
  return bootstrap({
    clusters: clusterBy(pairs, ({ prompt }) => prompt),
    statistic: (sample) => sample.reduce((sum, { agrees }) => sum + agrees, 0) / sample.length,
    key,
    resamples,
  });
}

function winRateRow(input: {
  readonly judged: ReadonlyArray<JudgedPair>;
  readonly answers: Answers;
  readonly baseline: Answers;
  readonly judge: string;
  readonly key: Key;
  readonly resamples: number;
}): WinRateRow {
  const { judged, answers, baseline, judge, key, resamples } = input;
  const { value, low, high, consistency } = winRate({ pairs: judged, key: fold(key, "plain"), resamples });
  return {
    model: answers.model,
    baseline: baseline.model,
    judge,
    rate: { value, low, high },
    lengthControlled: lengthControlledWinRate({
      pairs: judged,
      key: fold(key, "length"),
      resamples: Math.min(resamples, 200),
    }),
    comparisons: judged.length,
    consistency,
  };
}

/** +1 where a prompt asks for a happy answer, −1 for a sad one, else 0. */
function direction({ task }: TaskPrompt): number {
  if (task.kind !== "write") return 0;
  return task.mood === "happy" ? 1 : task.mood === "sad" ? -1 : 0;
}

function verdict(lead: number): Verdict {
  return lead > 0 ? 1 : lead < 0 ? 0 : 0.5;
}
