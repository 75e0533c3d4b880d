import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bestOfNKl } from "./best_of_n_kl.ts";
import { quantile } from "./bootstrap.ts";
import { fitFrontier } from "./frontier.ts";
import { fitLengthEffect } from "./length_control.ts";
import { wilson } from "./rates.ts";

interface Golden {
  readonly lengthFits: ReadonlyArray<{
    readonly preferences: ReadonlyArray<number>;
    readonly differences: ReadonlyArray<number>;
    readonly intercept: number;
    readonly slope: number;
  }>;
  readonly frontierFits: ReadonlyArray<{
    readonly form: "reinforcement" | "bestOfN";
    readonly kl: ReadonlyArray<number>;
    readonly reward: ReadonlyArray<number>;
    readonly alpha: number;
    readonly beta: number;
    readonly rSquared: number;
  }>;
  readonly wilson: ReadonlyArray<Readonly<Record<"successes" | "count" | "low" | "high", number>>>;
  readonly quantiles: Readonly<Record<"values" | "shares" | "expected", ReadonlyArray<number>>>;
  readonly bestOfN: ReadonlyArray<{ readonly n: number; readonly kl: number }>;
}
const golden: Golden = JSON.parse(readFileSync(new URL("./golden/statistics.json", import.meta.url), "utf8"));

describe("against torch and numpy", () => {
  it("length effects, noisy and separated", () => {
    for (const fit of golden.lengthFits) {
      const { intercept, slope } = fitLengthEffect(fit);
      expect(intercept).toBeCloseTo(fit.intercept, 7);
      expect(slope).toBeCloseTo(fit.slope, 7);
    }
  });

  it("frontiers of both forms", () => {
    for (const fit of golden.frontierFits) {
      const points = fit.kl.map((kl, i) => ({ kl, reward: fit.reward[i]! }));
      const { alpha, beta, rSquared } = fitFrontier(points, fit.form);
      expect(alpha).toBeCloseTo(fit.alpha, 9);
      expect(beta).toBeCloseTo(fit.beta, 9);
      expect(rSquared).toBeCloseTo(fit.rSquared, 9);
    }
  });

  it("Wilson’s intervals, also at 0 and n successes", () => {
    for (const row of golden.wilson) {
      const { low, high } = wilson(row.successes, row.count);
      expect(low).toBeCloseTo(row.low, 9);
      expect(high).toBeCloseTo(row.high, 9);
    }
  });

  it("quantiles", () => {
    const { values, shares, expected } = golden.quantiles;
    const sorted = values.toSorted((a, b) => a - b);
    expected.forEach((value, i) => {
      expect(quantile(sorted, shares[i]!)).toBeCloseTo(value, 12);
    });
  });

  it("KL of best-of-n", () => {
    for (const { n, kl } of golden.bestOfN) expect(bestOfNKl(n)).toBeCloseTo(kl, 4);
  });
});
