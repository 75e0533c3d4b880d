/** Positions of two responses to one prompt, the preferred one first. */
export type DecidedPair = readonly [winner: number, loser: number];

/**
 * Every pair of responses on which a ranking takes sides: all C(K,2) pairs without the ties.
 *
 * @param ranks one rank per response, 1 is best, equal ranks are a tie
 */
export function decidedPairs(ranks: ReadonlyArray<number>): ReadonlyArray<DecidedPair> {
  return ranks.flatMap((rank, i) =>
    ranks.slice(i + 1).flatMap((other, offset): ReadonlyArray<DecidedPair> => {
      const j = i + 1 + offset;
      return rank === other ? [] : [rank < other ? [i, j] : [j, i]];
    }),
  );
}
