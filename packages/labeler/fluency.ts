import type { Criterion } from "./criterion.ts";
import { words } from "./words.ts";

/** The share of familiar word pairs from which a sentence counts as fully fluent, and below which as gibberish. */
const [gibberish, fluent] = [0.3, 0.7];

/**
 * Do the words follow each other as in real text? The share of neighbouring word pairs, sentence ends included, that occur
 * in at least two of the given sentences (so that a sentence does not vouch for itself), scaled to 0 at 0.3 and to
 * 1 at 0.7. It saturates there: stock phrases earn no more than an ordinary sentence.
 */
export function fluencyCriterion(sentences: Iterable<string>): Criterion {
  const once = new Set<string>();
  const familiar = new Set<string>();
  for (const sentence of sentences) {
    for (const pair of new Set(pairs(sentence))) (once.has(pair) ? familiar : once).add(pair);
  }
  return {
    name: "fluency",
    judge: (_, response) => {
      const found = pairs(response);
      const share = found.filter((pair) => familiar.has(pair)).length / found.length;
      return Math.min(Math.max((share - gibberish) / (fluent - gibberish), 0), 1);
    },
  };
}

function pairs(sentence: string): Array<string> {
  const bounded = ["^", ...words(sentence), "$"];
  return bounded.slice(1).map((word, i) => `${bounded[i]} ${word}`);
}
