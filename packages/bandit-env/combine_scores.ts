import * as Effect from "effect/Effect";
import type { Episode } from "./episode.ts";
import type { Score } from "./score.ts";

/** The score of a function that looks at one episode at a time. */
export const scoreEach =
  (f: (episode: Episode) => number): Score =>
  (episodes) =>
    Effect.sync(() => Float32Array.from(episodes, f));

/**
 * A weighted sum of scores: Σₖ wₖ scoreₖ. Scores of different scales should be normalized first, or the widest decides.
 *
 * @throws RangeError when there is none
 */
export const weightedSum = <E = never, R = never>(
  terms: ReadonlyArray<{ readonly score: Score<E, R>; readonly weight: number }>,
): Score<E, R> => {
  const weights = terms.map(({ weight }) => weight);
  return combined(
    terms.map(({ score }) => score),
    (scores) => scores.reduce((sum, score, k) => sum + weights[k]! * score, 0),
  );
};

/** How an {@link ensemble} makes one score of its members'. */
export type Consensus =
  | { readonly _tag: "Mean" }
  /** The most doubtful member decides. */
  | { readonly _tag: "Minimum" }
  /** mean − λ · variance over the members, λ ≥ 0: responses on which they disagree lose. */
  | { readonly _tag: "UncertaintyPenalized"; readonly coefficient: number };

/**
 * Several judges of the same, such as reward models trained from different seeds (Coste et al. 2023, arXiv:2310.02743, section 3: mean,
 * worst-case and uncertainty-weighted optimization). A policy finds it harder to exploit all of them than one.
 *
 * @throws RangeError when there is no member
 */
export const ensemble = <E = never, R = never>(
  members: ReadonlyArray<Score<E, R>>,
  consensus: Consensus,
): Score<E, R> =>
  combined(members, (scores) => {
    if (consensus._tag === "Minimum") return Math.min(...scores);
    const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
    if (consensus._tag === "Mean") return mean;
    const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length;
    return mean - consensus.coefficient * variance;
  });

/** All scores of each episode made one, in the order of the members. */
const combined = <E, R>(
  members: ReadonlyArray<Score<E, R>>,
  combine: (scores: ReadonlyArray<number>) => number,
): Score<E, R> => {
  if (members.length === 0) {
    throw new RangeError("Cannot combine scores: at least one is required, got none");
  }
  return (episodes) =>
    Effect.map(
      Effect.forEach(members, (score) => score(episodes)),
      (rows) => Float32Array.from(episodes, (_, i) => combine(rows.map((row) => row[i]!))),
    );
};
