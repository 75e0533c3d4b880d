import { key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { alignmentTax } from "./alignment_tax.ts";
import { bestOfNKl } from "./best_of_n_kl.ts";
import { distinct, selfRepetition } from "./diversity.ts";
import { fitFrontier } from "./frontier.ts";
import { rates, wilson } from "./rates.ts";
import { sentiment } from "./sentiment.ts";

describe("fitFrontier", () => {
  const points = (reward: (d: number) => number) =>
    [0, 0.5, 1, 2, 4, 8, 16].map((kl) => ({ kl, reward: reward(Math.sqrt(kl)) }));

  it("finds the coefficients and the peak of an exact curve", () => {
    const fit = fitFrontier(points((d) => (d === 0 ? 0 : d * (1.2 - 0.5 * Math.log(d)))));
    expect(fit.alpha).toBeCloseTo(1.2, 10);
    expect(fit.beta).toBeCloseTo(0.5, 10);
    expect(fit.rSquared).toBeCloseTo(1, 10);
    const peak = fit.peakKl!;
    expect(fit.reward(peak)).toBeGreaterThan(fit.reward(0.99 * peak));
    expect(fit.reward(peak)).toBeGreaterThan(fit.reward(1.01 * peak));
  });

  it("does so for best-of-n", () => {
    const fit = fitFrontier(
      points((d) => d * (1.2 - 0.2 * d)),
      "bestOfN",
    );
    expect(fit.peakKl).toBeCloseTo((1.2 / 0.4) ** 2, 8);
  });

  it("has no peak where the reward only rises", () => {
    expect(fitFrontier(points((d) => d * (1 + 0.1 * Math.log(d || 1)))).peakKl).toBeUndefined();
  });

  it("reads a KL estimated below zero as zero", () => {
    const exact = points((d) => d);
    expect(fitFrontier([...exact, { kl: -0.01, reward: 0 }]).alpha).toBeCloseTo(fitFrontier(exact).alpha, 12);
  });

  it("refuses fewer than two distances", () => {
    expect(() =>
      fitFrontier([
        { kl: 1, reward: 1 },
        { kl: 0, reward: 0 },
      ]),
    ).toThrow("two different KL > 0");
  });
});

describe("rates", () => {
  it("counts each criterion over the responses judged on it", () => {
    const result = rates([
      { followed: true, toxic: false },
      { followed: false },
      { followed: true, toxic: true },
    ]);
    expect(result.map(({ criterion, value, count }) => [criterion, value, count])).toEqual([
      ["followed", 2 / 3, 3],
      ["toxic", 1 / 2, 2],
    ]);
  });

  it("refuses impossible counts", () => {
    expect(() => wilson(3, 2)).toThrow(RangeError);
    expect(() => wilson(0, 0)).toThrow(RangeError);
  });
});

describe("alignmentTax", () => {
  it("compares every model with the base on the same documents", () => {
    const [base, tuned] = alignmentTax({
      tokens: [100, 300],
      base: [300, 900],
      models: { sft: [310, 950] },
      key: key(1),
    });
    expect(base).toMatchObject({ model: "base", crossEntropy: 3, tax: { value: 0, low: 0, high: 0 } });
    expect(tuned!.crossEntropy).toBeCloseTo(3.15, 12);
    expect(tuned!.perplexity).toBeCloseTo(Math.exp(3.15), 10);
    expect(tuned!.tax.value).toBeCloseTo(0.15, 12);
    expect(tuned!.tax.low).toBeCloseTo(0.1, 12);
    expect(tuned!.tax.high).toBeCloseTo(50 / 300, 12);
  });

  it("refuses models measured on other documents", () => {
    expect(() => alignmentTax({ tokens: [1, 2], base: [1, 2], models: { sft: [1] }, key: key(1) })).toThrow(
      "sft must have a loss for each of the 2 documents, got 1",
    );
  });
});

describe("sentiment", () => {
  it("is the mean valence over words", () => {
    expect(sentiment("I love this wonderful day")).toBeCloseTo((3 + 4) / 5, 12);
    expect(sentiment("a table")).toBe(0);
    expect(sentiment("")).toBe(0);
  });

  it("reads phrases before words, and no property names of objects", () => {
    expect(sentiment("I can't stand it")).toBeCloseTo(-3 / 4, 12);
    expect(sentiment("constructor")).toBe(0);
  });
});

describe("diversity", () => {
  it("distinct-n pools the responses", () => {
    expect(distinct([["a", "b", "a", "b"]], 2)).toBeCloseTo(2 / 3, 12);
    expect(distinct([["a"], ["a"], ["b"]], 1)).toBeCloseTo(2 / 3, 12);
    expect(distinct([["a"]], 2)).toBe(0);
  });

  it("self-repetition stays within a response", () => {
    expect(selfRepetition([["a", "a", "a"], ["a"]], 1)).toBeCloseTo(1 / 3, 12);
    expect(selfRepetition([[1, 2, 3]], 2)).toBe(0);
  });

  it("does not mistake a joined pair for another one", () => {
    expect(
      distinct(
        [
          ["a,b", "c"],
          ["a", "b,c"],
        ],
        2,
      ),
    ).toBe(1);
  });
});

it("best-of-n needs a whole n", () => {
  expect(bestOfNKl(1)).toBe(0);
  expect(() => bestOfNKl(1.5)).toThrow(RangeError);
});
