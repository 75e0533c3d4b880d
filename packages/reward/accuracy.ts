import { type Lead, leads, type Ranked } from "./leads.ts";

export interface Accuracy {
  /** Share of the decided pairs whose preferred response scores higher; equal scores count half. NaN without pairs. */
  readonly accuracy: number;
  readonly pairs: number;
}

/**
 * How often scores agree with rankings, over all decided pairs, in total and for each labeler that is named. The yardstick is
 * how often labelers agree with each other: InstructGPT's reward models reach 72.4 %, its labelers agree on 72.6 %
 * (Ouyang et al. 2022, arXiv:2203.02155, section 4.1).
 *
 * @param scores for each ranking one score per response
 * @throws RangeError when a ranking and its scores differ in length
 */
export function pairwiseAccuracy({
  rankings,
  scores,
}: {
  readonly rankings: ReadonlyArray<Ranked>;
  readonly scores: ReadonlyArray<ArrayLike<number>>;
}): Accuracy & { readonly byLabeler: Readonly<Record<string, Accuracy>> } {
  const all = leads(rankings, scores);
  const labelers = new Set(all.flatMap(({ labeler }) => (labeler === undefined ? [] : [labeler])));
  return {
    ...accuracyOf(all),
    byLabeler: Object.fromEntries(
      Array.from(labelers, (name) => [name, accuracyOf(all.filter(({ labeler }) => labeler === name))]),
    ),
  };
}

function accuracyOf(pairs: ReadonlyArray<Lead>): Accuracy {
  const agreed = pairs.reduce((sum, { lead }) => sum + (lead > 0 ? 1 : lead === 0 ? 0.5 : 0), 0);
  return { accuracy: agreed / pairs.length, pairs: pairs.length };
}
