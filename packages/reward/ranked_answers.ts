import type { EncodedRanking, Tokens } from "@rlhf/core/records";

/** The answers to a prompt with every ranking of them, one by each person who ranked: one element of a batch. */
export interface RankedAnswers {
  readonly prompt: Tokens;
  readonly responses: ReadonlyArray<Tokens>;
  /** For each person one rank per response, 1 is best, equal ranks are a tie. */
  readonly rankings: ReadonlyArray<ReadonlyArray<number>>;
}

/**
 * Brings rankings of the same answers together, in the order of their first. Apart, they would pass through the model once for
 * each person, and in several updates of an epoch, which is how reward models overfit (Ouyang et al. 2022, section 3.5).
 */
export function byAnswers(rankings: ReadonlyArray<EncodedRanking>): ReadonlyArray<RankedAnswers> {
  const groups = new Map<string, RankedAnswers & { readonly rankings: Array<ReadonlyArray<number>> }>();
  for (const { prompt, responses, ranks } of rankings) {
    const answers = JSON.stringify([prompt, responses]);
    const group = groups.get(answers);
    if (group) group.rankings.push(ranks);
    else groups.set(answers, { prompt, responses, rankings: [ranks] });
  }
  return [...groups.values()];
}
