import { words } from "@rlhf/labeler/words";
import { sentencesOf } from "./sentences.ts";
import type { Wordnet } from "./wordnet.ts";

/** Uses in WordNet's sentences that make a word common: about 12,000 of 35,000 words. */
const enough = 4;

const known = new WeakMap<Wordnet, ReadonlyMap<string, number>>();

/**
 * Does a text get along with words that are common in WordNet's sentences? A model of a million parameters that reads for
 * minutes can learn these, and a vocabulary of 8,192 tokens holds most of them whole.
 */
export function usesCommonWords(wordnet: Wordnet, text: string): boolean {
  const uses = known.get(wordnet) ?? countWords(wordnet);
  known.set(wordnet, uses);
  return words(text).every((word) => (uses.get(word) ?? 0) >= enough);
}

function countWords(wordnet: Wordnet): ReadonlyMap<string, number> {
  const uses = new Map<string, number>();
  const distinct = new Set([...wordnet.synsets.values()].flatMap((synset) => sentencesOf(wordnet, synset)));
  for (const sentence of distinct) {
    for (const word of words(sentence)) uses.set(word, (uses.get(word) ?? 0) + 1);
  }
  return uses;
}
