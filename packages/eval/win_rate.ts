import type { Key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import { bootstrap, clusterBy } from "./bootstrap.ts";
import type { Interval } from "./interval.ts";

/** 1: the first answer is better, 0: the second, 0.5: neither. */
export type Verdict = 1 | 0.5 | 0;

/** Compares two answers; it is not told which model wrote which. */
export type Judge<Error = never, Needs = never> = (question: {
  readonly prompt: string;
  readonly first: string;
  readonly second: string;
}) => Verdict | Effect.Effect<Verdict, Error, Needs>;

/** One prompt answered by the model under test and by the model it is measured against. */
export interface AnswerPair {
  readonly prompt: string;
  readonly answer: string;
  readonly baseline: string;
}

/** A pair with the judge's verdicts in both orders, each as seen from `answer`. */
export interface JudgedPair extends AnswerPair {
  readonly answerFirst: Verdict;
  readonly answerSecond: Verdict;
}

/** Shows every pair to the judge in both orders, since judges tend to favour a position (Zheng et al. 2023). */
export const judgePairs = Effect.fn("eval.judgePairs")(function* <Error = never, Needs = never>(options: {
  readonly pairs: ReadonlyArray<AnswerPair>;
  readonly judge: Judge<Error, Needs>;
  /** How many pairs are before the judge at a time. */
  readonly concurrency?: number;
}) {
  const ask = (prompt: string, first: string, second: string) => {
    const verdict = options.judge({ prompt, first, second });
    return Effect.isEffect(verdict) ? verdict : Effect.succeed(verdict);
  };
  return yield* Effect.forEach(
    options.pairs,
    Effect.fnUntraced(function* (pair) {
      const answerFirst = yield* ask(pair.prompt, pair.answer, pair.baseline);
      const baselineFirst = yield* ask(pair.prompt, pair.baseline, pair.answer);
      return { ...pair, answerFirst, answerSecond: (1 - baselineFirst) as Verdict };
    }),
    { concurrency: options.concurrency ?? 1 },
  );
});

/** How often an answer was preferred, in [0, 1]: mean of the two orders, a tie counts half. */
export function preference(pair: Pick<JudgedPair, "answerFirst" | "answerSecond">): number {
  return (pair.answerFirst + pair.answerSecond) / 2;
}

export interface WinRate extends Interval {
  /** Pairs preferred (> ½), even and not preferred (< ½) over both orders. */
  readonly wins: number;
  readonly ties: number;
  readonly losses: number;
  /** Share of pairs whose verdict did not change with the order. */
  readonly consistency: number;
}

/**
 * Win rate with a 95 % bootstrap interval that resamples prompts:
 *
 * win rate = 1/N · Σ (verdict with the answer first + verdict with the answer second) / 2
 */
export function winRate(options: {
  readonly pairs: ReadonlyArray<JudgedPair>;
  readonly key: Key;
  readonly resamples?: number;
}): WinRate {
  const { pairs, ...rest } = options;
  if (pairs.length === 0) {
    throw new RangeError("Cannot compute a win rate: at least one judged pair is required, got none");
  }
  const interval = bootstrap({
    clusters: clusterBy(pairs, (pair) => pair.prompt),
    statistic: (items) => items.reduce((sum, pair) => sum + preference(pair), 0) / items.length,
    ...rest,
  });
  const count = (test: (pair: JudgedPair) => boolean) => pairs.filter(test).length;
  return {
    ...interval,
    wins: count((pair) => preference(pair) > 0.5),
    ties: count((pair) => preference(pair) === 0.5),
    losses: count((pair) => preference(pair) < 0.5),
    consistency: count((pair) => pair.answerFirst === pair.answerSecond) / pairs.length,
  };
}
