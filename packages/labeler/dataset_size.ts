import type { Ranking } from "@rlhf/core/records";

export interface DatasetSize {
  readonly prompts: number;
  readonly responses: number;
  /** Σ C(K, 2): all pairs of responses to one prompt. */
  readonly pairs: number;
  /** Pairs of equal rank, from which nothing is learnt. */
  readonly tied: number;
}

/** How much a set of rankings holds. A ranking of K responses is C(K, 2) pairs (Ouyang et al. 2022, section 3.5). */
export function datasetSize(rankings: ReadonlyArray<Ranking>): DatasetSize {
  let [responses, pairs, tied] = [0, 0, 0];
  for (const { ranks } of rankings) {
    responses += ranks.length;
    pairs += (ranks.length * (ranks.length - 1)) / 2;
    for (let i = 0; i < ranks.length; i++) {
      for (let j = 0; j < i; j++) if (ranks[i] === ranks[j]) tied++;
    }
  }
  return { prompts: rankings.length, responses, pairs, tied };
}
