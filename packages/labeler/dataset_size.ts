import type { Ranking } from "@rlhf/core/records";

export interface DatasetSize {
  readonly prompts: number;
  readonly responses: number;
  /** One for each person who ranked a prompt's responses. */
  readonly rankings: number;
  /** Σ C(K, 2) over the rankings: all pairs of responses that somebody compared. */
  readonly pairs: number;
  /** Pairs of equal rank, from which nothing is learnt. */
  readonly tied: number;
}

/** How much a set of rankings holds. A ranking of K responses is C(K, 2) pairs (Ouyang et al. 2022, section 3.5). */
export function datasetSize(rankings: ReadonlyArray<Ranking>): DatasetSize {
  const answered = new Map(
    rankings.map(({ prompt, responses }) => [JSON.stringify([prompt, responses]), responses]),
  );
  const responses = [...answered.values()].reduce((sum, { length }) => sum + length, 0);
  let [pairs, tied] = [0, 0];
  for (const { ranks } of rankings) {
    pairs += (ranks.length * (ranks.length - 1)) / 2;
    for (let i = 0; i < ranks.length; i++) {
      for (let j = 0; j < i; j++) if (ranks[i] === ranks[j]) tied++;
    }
  }
  return { prompts: answered.size, responses, rankings: rankings.length, pairs, tied };
}
