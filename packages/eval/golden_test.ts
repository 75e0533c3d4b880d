import { readFileSync } from "node:fs";
import { expectFidelity, type GoldenSource, relativeError } from "@rlhf/core/testing/fidelity";
import { describe, it } from "vitest";
import { bestOfNKl } from "./best_of_n_kl.ts";
import { quantile } from "./bootstrap.ts";
import { fitFrontier } from "./frontier.ts";
import { fitLengthEffect } from "./length_control.ts";
import { wilson } from "./rates.ts";

interface Golden {
  readonly source: GoldenSource;
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

const check = (
  formula: string,
  found: ReadonlyArray<number>,
  expected: ReadonlyArray<number>,
  limit: number,
) => expectFidelity({ formula, source: golden.source, error: relativeError(found, expected), limit });

describe("against torch and numpy", () => {
  it("length effects, noisy and separated", () => {
    for (const fit of golden.lengthFits) {
      const { intercept, slope } = fitLengthEffect(fit);
      check("length effect: intercept and slope", [intercept, slope], [fit.intercept, fit.slope], 1e-7);
    }
  });

  it("frontiers of both forms", () => {
    for (const fit of golden.frontierFits) {
      const points = fit.kl.map((kl, i) => ({ kl, reward: fit.reward[i]! }));
      const { alpha, beta, rSquared } = fitFrontier(points, fit.form);
      check("frontier: α, β and R²", [alpha, beta, rSquared], [fit.alpha, fit.beta, fit.rSquared], 1e-9);
    }
  });

  it("Wilson’s intervals, also at 0 and n successes", () => {
    for (const row of golden.wilson) {
      const { low, high } = wilson(row.successes, row.count);
      check("Wilson’s interval", [low, high], [row.low, row.high], 1e-9);
    }
  });

  it("quantiles", () => {
    const { values, shares, expected } = golden.quantiles;
    const sorted = values.toSorted((a, b) => a - b);
    check(
      "quantiles",
      shares.map((share) => quantile(sorted, share)),
      expected,
      1e-12,
    );
  });

  it("KL of best-of-n", () => {
    for (const { n, kl } of golden.bestOfN) check("KL of best-of-n", [bestOfNKl(n)], [kl], 1e-4);
  });
});
