import { fold, type Key, shuffled } from "@rlhf/core/random";
import { byLot } from "./lot.ts";
import { frequency } from "./nouns.ts";
import { definitionSentence, exampleSentences } from "./sentences.ts";
import type { Synset, Wordnet } from "./wordnet.ts";

export interface Corpus {
  readonly train: ReadonlyArray<string>;
  readonly validation: ReadonlyArray<string>;
}

/**
 * The pretraining text: one document per meaning, first its definition as a sentence, then its example sentences, a
 * line each. Definitions are those of words in use (met at least once in WordNet's tagged text): most of the others are of
 * Latin genera and technical terms. A sentence that serves several meanings appears once. The split is by meaning; the order is random,
 * so that any beginning of the list is a fair sample.
 */
export function makeCorpus(wordnet: Wordnet, key: Key): Corpus {
  const seen = new Set<string>();
  const corpus = { train: [] as Array<string>, validation: [] as Array<string> };
  for (const synset of shuffled(fold(key, "corpus"), [...wordnet.synsets.values()])) {
    const word = synset.words[0]!;
    const isInUse = /^[a-z]+(?:[ '-][a-z]+)*$/.test(word) && frequency(wordnet, word, synset.pos) > 0;
    const definition = isInUse ? definitionSentence(synset, word) : undefined;
    const lines = [...(definition ? [definition] : []), ...exampleSentences(synset)].filter(
      (line) => !seen.has(line),
    );
    for (const line of lines) seen.add(line);
    if (lines.length > 0) corpus[isHeldOut(synset, key) ? "validation" : "train"].push(lines.join("\n"));
  }
  return corpus;
}

/** One meaning in twenty belongs to validation, in the corpus as in the demonstrations. */
export function isHeldOut(synset: Synset, key: Key): boolean {
  return byLot(key, synset.id, 0.05);
}
