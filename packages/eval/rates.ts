import type { Interval } from "./interval.ts";

const z = 1.959963984540054; // the normal distribution's 97.5 % point

/**
 * Share of successes with Wilson's 95 % score interval (Wilson 1927), which stays inside [0, 1] and does not collapse
 * at 0 or n successes:
 *
 * (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n)
 */
export function wilson(successes: number, count: number): Interval {
  if (!(count > 0 && successes >= 0 && successes <= count)) {
    throw new RangeError(
      `Cannot compute a share: 0 ≤ successes ≤ count and count > 0 are required, got ${successes} of ${count}`,
    );
  }
  const share = successes / count;
  const center = share + (z * z) / (2 * count);
  const reach = z * Math.sqrt((share * (1 - share)) / count + (z * z) / (4 * count * count));
  const scale = 1 + (z * z) / count;
  return {
    value: share,
    low: Math.max(0, (center - reach) / scale),
    high: Math.min(1, (center + reach) / scale),
  };
}

/** One judged response: a criterion's name → whether it holds (`{ followed: true, toxic: false }`). */
export type Judgement = Readonly<Record<string, boolean>>;

/**
 * For every criterion the share of responses for which it holds, over the responses that were judged on it:
 * instruction followed, well-formed, truthful, toxic, as the labelling form of Ouyang et al. 2022 (table 3) asks.
 * Responses must be to different prompts, else the interval is too narrow.
 */
export function rates(
  judgements: ReadonlyArray<Judgement>,
): ReadonlyArray<Interval & { readonly criterion: string; readonly count: number }> {
  const criteria = new Set(judgements.flatMap((judgement) => Object.keys(judgement)));
  return Array.from(criteria, (criterion) => {
    const answers = judgements.flatMap((judgement) => judgement[criterion] ?? []);
    return { criterion, count: answers.length, ...wilson(answers.filter(Boolean).length, answers.length) };
  });
}
