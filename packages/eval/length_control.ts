import type { Key } from "@rlhf/core/random";
import { bootstrap, clusterBy } from "./bootstrap.ts";
import type { Interval } from "./interval.ts";
import type { JudgedPair } from "./win_rate.ts";
import { preference } from "./win_rate.ts";

/**
 * Win rate at equal length, with a 95 % bootstrap interval that resamples prompts (Dubois et al. 2024,
 * "Length-controlled AlpacaEval", arXiv:2404.04475): judges like long answers, so preference is regressed on length
 *
 * P(answer preferred) = σ(θ + φ · tanh(Δlength / std(Δlength)))
 *
 * and reported at Δlength = 0, where it is σ(θ). The paper's third term, the difficulty of each instruction, needs many
 * models answering the same instructions and is left out. φ carries the penalty ½φ², so that a sample in which the
 * longer answer always wins still has a finite fit.
 *
 * @param length of an answer, in any unit; the default counts characters
 */
export function lengthControlledWinRate(options: {
  readonly pairs: ReadonlyArray<JudgedPair>;
  readonly key: Key;
  readonly length?: (text: string) => number;
  readonly resamples?: number;
}): Interval {
  const { pairs, length = (text) => text.length, ...rest } = options;
  if (pairs.length === 0) {
    throw new RangeError("Cannot control for length: at least one judged pair is required, got none");
  }
  const items = pairs.map((pair) => ({
    prompt: pair.prompt,
    preference: preference(pair),
    difference: length(pair.answer) - length(pair.baseline),
  }));
  return bootstrap({
    clusters: clusterBy(items, (item) => item.prompt),
    statistic: (sample) => {
      const fit = fitLengthEffect({
        preferences: sample.map((item) => item.preference),
        differences: sample.map((item) => item.difference),
      });
      return sigmoid(fit.intercept);
    },
    ...rest,
  });
}

/**
 * The logistic regression behind {@link lengthControlledWinRate}: θ is `intercept`, φ is `slope`. Minimizes
 * Σ cross-entropy + ½φ² by Newton's method with step halving; targets may lie anywhere in [0, 1].
 */
export function fitLengthEffect(options: {
  readonly preferences: ReadonlyArray<number>;
  readonly differences: ReadonlyArray<number>;
}): { readonly intercept: number; readonly slope: number } {
  const { preferences, differences } = options;
  const spread = standardDeviation(differences) || 1;
  const features = differences.map((difference) => Math.tanh(difference / spread));
  const loss = (intercept: number, slope: number) =>
    features.reduce(
      (sum, x, i) => {
        const logit = intercept + slope * x;
        return sum + softplus(logit) - preferences[i]! * logit;
      },
      (slope * slope) / 2,
    );

  let [intercept, slope] = [0, 0];
  for (let iteration = 0; iteration < 50; iteration++) {
    let [gradientA, gradientB, curveAA, curveAB, curveBB] = [0, slope, 0, 0, 1];
    for (const [i, x] of features.entries()) {
      const p = sigmoid(intercept + slope * x);
      gradientA += p - preferences[i]!;
      gradientB += (p - preferences[i]!) * x;
      curveAA += p * (1 - p);
      curveAB += p * (1 - p) * x;
      curveBB += p * (1 - p) * x * x;
    }
    if (Math.abs(gradientA) + Math.abs(gradientB) < 1e-10 * features.length) break;
    const determinant = curveAA * curveBB - curveAB * curveAB;
    const stepA = (curveBB * gradientA - curveAB * gradientB) / determinant;
    const stepB = (curveAA * gradientB - curveAB * gradientA) / determinant;
    const before = loss(intercept, slope);
    let share = 1;
    while (share > 1e-6 && loss(intercept - share * stepA, slope - share * stepB) > before) share /= 2;
    intercept -= share * stepA;
    slope -= share * stepB;
  }
  return { intercept, slope };
}

function standardDeviation(values: ReadonlyArray<number>): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1 || 1));
}

const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));
const softplus = (logit: number) => Math.max(logit, 0) + Math.log1p(Math.exp(-Math.abs(logit)));
