import { decidedPairs } from "./decided_pairs.ts";

/** How a labeler ordered the responses to one prompt: 1 is best, equal ranks are a tie. */
export interface Ranked {
  readonly ranks: ReadonlyArray<number>;
  readonly labeler?: string;
}

/** For one decided pair: score of the preferred response − score of the other. */
export interface Lead {
  readonly lead: number;
  readonly labeler: string | undefined;
}

/**
 * The lead of the preferred response in every decided pair of every ranking.
 *
 * @param scores for each ranking one score per response
 * @throws RangeError when a ranking and its scores differ in length
 */
export function leads(
  rankings: ReadonlyArray<Ranked>,
  scores: ReadonlyArray<ArrayLike<number>>,
): ReadonlyArray<Lead> {
  if (scores.length !== rankings.length) {
    throw new RangeError(
      `Cannot compare scores with rankings: ${rankings.length} rows of scores are required, got ${scores.length}`,
    );
  }
  return rankings.flatMap(({ ranks, labeler }, prompt) => {
    const row = scores[prompt]!;
    if (row.length !== ranks.length) {
      throw new RangeError(
        `Cannot compare scores with rankings: ranking ${prompt} needs ${ranks.length} scores, got ${row.length}`,
      );
    }
    return decidedPairs(ranks).map(([winner, loser]) => ({ lead: row[winner]! - row[loser]!, labeler }));
  });
}
