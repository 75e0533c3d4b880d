import * as tf from "@tensorflow/tfjs-core";
import { decidedPairs } from "./decided_pairs.ts";

/** The pairs of a batch of prompts. Positions count the responses of all prompts end to end. */
export interface RankedPairs {
  readonly winners: Int32Array;
  readonly losers: Int32Array;
  /** What a pair counts: 1 / (pairs of its prompt · prompts), so that the weights sum to 1. */
  readonly weights: Float32Array;
}

/**
 * The decided pairs of a batch of rankings. Ties are dropped, and a prompt whose responses all tie counts for nothing.
 *
 * @param ranks for each prompt one rank per response: 1 is best, equal ranks are a tie
 */
export function rankedPairs(ranks: ReadonlyArray<ReadonlyArray<number>>): RankedPairs {
  const pairsOfPrompt = ranks.map(decidedPairs);
  const prompts = pairsOfPrompt.filter((pairs) => pairs.length > 0).length;
  const winners: Array<number> = [];
  const losers: Array<number> = [];
  const weights: Array<number> = [];
  let first = 0;
  pairsOfPrompt.forEach((pairs, prompt) => {
    for (const [winner, loser] of pairs) {
      winners.push(first + winner);
      losers.push(first + loser);
      weights.push(1 / (pairs.length * prompts));
    }
    first += ranks[prompt]!.length;
  });
  return {
    winners: Int32Array.from(winners),
    losers: Int32Array.from(losers),
    weights: Float32Array.from(weights),
  };
}

/**
 * K-wise ranking loss: the mean over prompts of `−1/|pairs| · Σ log σ(r_w − r_l)` over all pairs of a prompt's K responses.
 *
 * Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155, equation 1. Taking all C(K,2) pairs of a prompt as one batch element
 * needs one forward pass per response and does not overfit as shuffled single pairs do. Where the paper's 1/C(K,2) would
 * count ties in the denominator, here the denominator is the number of decided pairs.
 *
 * @param scores `[responses]`, scores of the responses of all prompts end to end
 * @param pairs from {@link rankedPairs}
 * @throws RangeError when there is no pair or a pair names a response without a score
 */
export function rankingLoss({
  scores,
  pairs,
}: {
  readonly scores: tf.Tensor1D;
  readonly pairs: RankedPairs;
}): tf.Scalar {
  const { winners, losers, weights } = pairs;
  if (winners.length === 0) {
    throw new RangeError(
      "Cannot compute a ranking loss: at least one pair that is not a tie is required, got none",
    );
  }
  const last = Math.max(
    winners.reduce((a, b) => Math.max(a, b)),
    losers.reduce((a, b) => Math.max(a, b)),
  );
  if (scores.rank !== 1 || last >= scores.size) {
    throw new RangeError(
      `Cannot compute a ranking loss: scores must be [responses] with at least ${last + 1} entries, got [${scores.shape}]`,
    );
  }
  return tf.tidy(() => {
    const shortfall = tf.sub(tf.gather(scores, tf.tensor1d(losers)), tf.gather(scores, tf.tensor1d(winners)));
    return tf.sum(tf.mul(tf.softplus(shortfall), tf.tensor1d(weights)));
  });
}
