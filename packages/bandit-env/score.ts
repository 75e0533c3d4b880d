import { requireFinite } from "@rlhf/core/require_finite";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import type { Episode } from "./episode.ts";

/**
 * The verdict on each episode, in the order given: a reward model, a program, a person, an AI judge. It reads the
 * tokens as they were sampled; responses are truncated at end of sequence already.
 */
export type Score<E = never, R = never> = (
  episodes: ReadonlyArray<Episode>,
) => Effect.Effect<Float32Array, E, R>;

/** A {@link Score} could not be had. */
export class ScoreFailed extends Schema.TaggedError<ScoreFailed>()("ScoreFailed", {
  cause: Schema.Defect(),
}) {
  override get message(): string {
    return `The responses could not be scored: ${this.cause}`;
  }
}

/**
 * Scores with the penalty for a response that never ended: score − penalty · [not finished]. Without it a policy
 * learns to ramble to the token limit wherever that scores well. Huang et al. 2024 (arXiv:2403.17031) replace the score
 * by −1; taking a penalty off, as TRL does, keeps the order among unfinished responses.
 */
export function penalizeMissingEos({
  scores,
  episodes,
  penalty,
}: {
  readonly scores: Float32Array;
  readonly episodes: ReadonlyArray<Episode>;
  readonly penalty: number;
}): Float32Array {
  if (scores.length !== episodes.length) {
    throw new RangeError(
      `Cannot judge: one score per episode is required, got ${scores.length} scores for ${episodes.length} episodes`,
    );
  }
  return scores.map((score, i) => (episodes[i]!.response.finished ? score : score - penalty));
}

/** What {@link judge} adds to a rollout. */
export interface Verdicts {
  /** One a sequence, the penalty for a missing end of sequence included. */
  readonly scores: Float32Array;
}

/** Scores the episodes of a rollout, which may be anything that has episodes. */
export const judge = Effect.fn("bandit-env.judge")(function* <
  T extends { readonly episodes: ReadonlyArray<Episode> },
  E,
  R,
>(rollout: T, options: { readonly score: Score<E, R>; readonly missingEosPenalty: number }) {
  const { episodes } = rollout;
  const scores = yield* options.score(episodes);
  const verdicts: Verdicts = {
    scores: penalizeMissingEos({ scores, episodes, penalty: options.missingEosPenalty }),
  };
  return { ...rollout, ...verdicts };
});

/** Fails with `NonFiniteLoss`, which names stage and step, at the first score that is NaN or infinite. */
export const requireFiniteScores = (
  scores: Float32Array,
  where: { readonly stage: string; readonly step: number },
) => requireFinite(where, { score: scores.find((score) => !Number.isFinite(score)) ?? 0 });
