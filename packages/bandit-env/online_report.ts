import type { Episode } from "./episode.ts";
import type { ReferenceKl } from "./reference_kl.ts";
import type { Verdicts } from "./score.ts";
import type { TrainingRollout } from "./training_rollout.ts";

/** What an iteration of online training reports; nothing in it needs the Scope. */
export interface OnlineReport {
  readonly metrics: Readonly<Record<string, number>>;
  readonly episodes: ReadonlyArray<Episode>;
  readonly scores: Float32Array;
  readonly sequenceKl: Float32Array;
}

/**
 * The report of an iteration: means over its sequences, what the update measured, and the response tokens a second of
 * every phase that took so many `seconds`. The KL coefficient is the one that the iteration was rewarded with.
 */
export function onlineReport({
  batch,
  klCoefficient,
  updates,
  seconds,
}: {
  readonly batch: TrainingRollout & Verdicts & Omit<ReferenceKl, "refLogProbs">;
  readonly klCoefficient: number;
  readonly updates: Readonly<Record<string, number>>;
  readonly seconds: Readonly<Record<string, number>>;
}): OnlineReport {
  const { episodes, scores, sequenceKl, meanKl } = batch;
  const mean = (values: ReadonlyArray<number>) =>
    values.reduce((sum, value) => sum + value, 0) / episodes.length;
  const score = mean([...scores]);
  const responseLength = mean(episodes.map(({ response }) => response.tokens.length));
  const rates = Object.entries(seconds).map(([phase, duration]) => [
    `${phase}TokensPerSecond`,
    (responseLength * episodes.length) / Math.max(duration, 1e-9),
  ]);
  return {
    metrics: {
      score,
      rlhfReward: score - klCoefficient * meanKl,
      kl: meanKl,
      klCoefficient,
      eosRate: mean(episodes.map(({ response }) => (response.finished ? 1 : 0))),
      responseLength,
      ...updates,
      entropy: batch.entropy,
      scoreDeviation: Math.sqrt(mean([...scores].map((value) => (value - score) ** 2))),
      samplingGap: batch.samplingGap,
      ...Object.fromEntries(rates),
    },
    episodes,
    scores,
    sequenceKl,
  };
}
