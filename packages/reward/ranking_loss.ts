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
 * The decided pairs of a batch of prompts. Ties are dropped, and a prompt whose responses all tie counts for nothing. Where
 * several people ranked the responses of a prompt, it has the pairs of all of them: people who disagree pull both ways.
 *
 * @param rankings for each prompt its rankings, each of one rank per response: 1 is best, equal ranks are a tie
 */
export function rankedPairs(rankings: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>): RankedPairs {
  const pairsOfPrompt = rankings.map((ofPrompt) => ofPrompt.flatMap(decidedPairs));
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
    first += rankings[prompt]![0]!.length;
  });
  return {
    winners: Int32Array.from(winners),
    losers: Int32Array.from(losers),
    weights: Float32Array.from(weights),
  };
}

/**
 * K-wise ranking loss: the mean over prompts of `−1/|pairs| · Σ log σ(r_w − r_l)` over all decided pairs of a prompt's K
 * responses.
 *
 * Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155, equation 1. Taking all C(K,2) pairs of a prompt as one batch element
 * needs one forward pass per response, and overfits less than shuffled single pairs. The paper's factor 1/C(K,2) becomes one
 * over the number of decided pairs: ties are dropped from the sum and from the denominator.
 *
 * @param scores `[responses]`, scores of the responses of all prompts end to end
 * @param pairs from {@link rankedPairs}
 * @throws RangeError when there is no pair, or a pair names a response without a score
 */
export function rankingLoss(input: { readonly scores: tf.Tensor1D; readonly pairs: RankedPairs }): tf.Scalar {
  return tf.tidy(() => weightedSum(tf.softplus(tf.neg(pairLeads(input))), input.pairs));
}

/**
 * Share of the pairs that the scores order as the labeler did, weighted as in {@link rankingLoss}. It has no gradient.
 *
 * @throws RangeError as {@link rankingLoss}
 */
export function rankingAccuracy(input: {
  readonly scores: tf.Tensor1D;
  readonly pairs: RankedPairs;
}): tf.Scalar {
  return tf.tidy(() => weightedSum(tf.cast(tf.greater(pairLeads(input), 0), "float32"), input.pairs));
}

function weightedSum(ofPair: tf.Tensor, { weights }: RankedPairs): tf.Scalar {
  return tf.sum(tf.mul(ofPair, tf.tensor1d(weights)));
}

/** `[pairs]`: by how much the preferred response leads. */
function pairLeads({
  scores,
  pairs,
}: {
  readonly scores: tf.Tensor1D;
  readonly pairs: RankedPairs;
}): tf.Tensor {
  const { winners, losers } = pairs;
  if (winners.length === 0) {
    throw new RangeError("Cannot rank: at least one pair that is not a tie is required, got none");
  }
  const last = [...winners, ...losers].reduce((a, b) => Math.max(a, b));
  if (scores.rank !== 1 || last >= scores.size) {
    throw new RangeError(
      `Cannot rank: scores must be [responses] with at least ${last + 1} entries, got [${scores.shape}]`,
    );
  }
  return tf.sub(tf.gather(scores, tf.tensor1d(winners)), tf.gather(scores, tf.tensor1d(losers)));
}
