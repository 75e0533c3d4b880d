import type { Criterion } from "./criterion.ts";
import { words } from "./words.ts";

/** Log-ratios below the first are gibberish (most shuffled sentences), above the second fluent (most real ones). */
const [gibberish, fluent] = [-0.3, 0.3];

/**
 * Do the words follow each other as in real text? With p from the given sentences,
 *
 *     s = mean over neighbouring words (sentence ends included) of log p(b | a) / p(b),
 *
 * scaled to 0 at s = −0.3 and to 1 at s = 0.3. It saturates there: stock phrases earn no more than an ordinary
 * sentence. p(b | a) is a bigram model smoothed by absolute discounting (Ney et al. 1994) with a discount of 1, so that
 * a pair that occurs once counts as unseen, and a given sentence does not vouch for itself.
 */
export function fluencyCriterion(sentences: Iterable<string>): Criterion {
  const [single, pair, followers] = [new Tally(), new Tally(), new Tally()];
  for (const sentence of sentences) {
    const found = bounded(sentence);
    for (const [i, word] of found.entries()) {
      single.add(word);
      if (i > 0 && pair.add(`${found[i - 1]} ${word}`) === 1) followers.add(found[i - 1]!);
    }
  }
  const logRatio = (a: string, b: string) => {
    const before = single.count(a);
    if (before === 0) return 0;
    const expected = (before * Math.max(single.count(b), 1)) / single.total;
    return Math.log(Math.max(pair.count(`${a} ${b}`) - 1, 0) / expected + followers.count(a) / before);
  };
  return {
    name: "fluency",
    judge: (_, response) => {
      const found = bounded(response);
      let sum = 0;
      for (let i = 1; i < found.length; i++) sum += logRatio(found[i - 1]!, found[i]!);
      const mean = sum / (found.length - 1);
      return Math.min(Math.max((mean - gibberish) / (fluent - gibberish), 0), 1);
    },
  };
}

class Tally {
  total = 0;
  readonly #counts = new Map<string, number>();

  add(item: string): number {
    const count = this.count(item) + 1;
    this.#counts.set(item, count);
    this.total++;
    return count;
  }

  count(item: string): number {
    return this.#counts.get(item) ?? 0;
  }
}

function bounded(sentence: string): Array<string> {
  return ["^", ...words(sentence), "$"];
}
