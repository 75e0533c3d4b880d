import { it } from "@effect/vitest";
import { key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import { describe, expect } from "vitest";
import { lengthControlledWinRate } from "./length_control.ts";
import { type JudgedPair, judgePairs, type Verdict, winRate } from "./win_rate.ts";

const pairs = [
  { prompt: "p1", answer: "long answer", baseline: "short" },
  { prompt: "p2", answer: "a", baseline: "bb" },
  { prompt: "p3", answer: "xx", baseline: "yy" },
];
const longer = (question: { first: string; second: string }): Verdict =>
  question.first.length > question.second.length
    ? 1
    : question.first.length < question.second.length
      ? 0
      : 0.5;

describe("judgePairs", () => {
  it.effect("asks a plain judge in both orders and reports from the answer’s side", () =>
    Effect.gen(function* () {
      const judged = yield* judgePairs({ pairs, judge: longer });
      expect(judged.map(({ answerFirst, answerSecond }) => [answerFirst, answerSecond])).toEqual([
        [1, 1],
        [0, 0],
        [0.5, 0.5],
      ]);
    }),
  );

  it.effect("cancels a judge that always prefers the first position", () =>
    Effect.gen(function* () {
      const judged = yield* judgePairs({ pairs, judge: () => Effect.succeed<Verdict>(1), concurrency: 2 });
      const result = winRate({ pairs: judged, key: key(1) });
      expect(result).toMatchObject({
        value: 0.5,
        low: 0.5,
        high: 0.5,
        wins: 0,
        ties: 3,
        losses: 0,
        consistency: 0,
      });
    }),
  );

  it.effect("passes a judge’s error on", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(judgePairs({ pairs, judge: () => Effect.fail("tired" as const) }))).toBe(
        "tired",
      );
    }),
  );
});

describe("winRate", () => {
  const judged = (count: number, verdict: (i: number) => Verdict): ReadonlyArray<JudgedPair> =>
    Array.from({ length: count }, (_, i) => ({
      prompt: `p${i}`,
      answer: "x".repeat(10 + (i % 7)),
      baseline: "x".repeat(10 + (i % 5)),
      answerFirst: verdict(i),
      answerSecond: verdict(i),
    }));

  it("counts wins, ties and losses", () => {
    const result = winRate({ pairs: judged(100, (i) => (i < 60 ? 1 : i < 80 ? 0.5 : 0)), key: key(1) });
    expect(result).toMatchObject({ value: 0.7, wins: 60, ties: 20, losses: 20, consistency: 1 });
    expect(result.low).toBeGreaterThan(0.6);
    expect(result.high).toBeLessThan(0.8);
  });

  it("mirrors when model and baseline change places", () => {
    const there = winRate({ pairs: judged(50, (i) => (i % 3 ? 1 : 0)), key: key(1) });
    const back = winRate({ pairs: judged(50, (i) => (i % 3 ? 0 : 1)), key: key(1) });
    expect(there.value).toBeCloseTo(1 - back.value, 12);
    expect(there.low).toBeCloseTo(1 - back.high, 12);
  });

  it("refuses to judge nothing", () => {
    expect(() => winRate({ pairs: [], key: key(1) })).toThrow("at least one judged pair");
    expect(() => lengthControlledWinRate({ pairs: [], key: key(1) })).toThrow("at least one judged pair");
  });
});

describe("lengthControlledWinRate", () => {
  const lengths = (i: number) => ({ answer: "x".repeat(20 + (i % 9) * 3), baseline: "x".repeat(20) });
  const rates = (verdict: (i: number) => Verdict) => {
    const sample = Array.from({ length: 180 }, (_, i) => ({
      prompt: `p${i}`,
      ...lengths(i),
      answerFirst: verdict(i),
      answerSecond: verdict(i),
    }));
    return {
      plain: winRate({ pairs: sample, key: key(1), resamples: 50 }).value,
      controlled: lengthControlledWinRate({ pairs: sample, key: key(1), resamples: 50 }),
    };
  };

  it("leaves a preference that does not depend on length as it is", () => {
    const { plain, controlled } = rates((i) => (Math.floor(i / 9) % 4 ? 1 : 0));
    expect(controlled.value).toBeCloseTo(plain, 2);
  });

  it("lowers a win rate that was earned by length", () => {
    const { plain, controlled } = rates((i) => (i % 9 > 2 ? 1 : 0));
    expect(plain).toBeCloseTo(2 / 3, 6);
    expect(controlled.value).toBeLessThan(0.3);
    expect(controlled.low).toBeLessThanOrEqual(controlled.value);
    expect(controlled.high).toBeGreaterThanOrEqual(controlled.value);
  });

  it("has a finite fit when one side wins every pair", () => {
    const { controlled } = rates(() => 1);
    expect(controlled.value).toBeGreaterThan(0.999);
  });
});
