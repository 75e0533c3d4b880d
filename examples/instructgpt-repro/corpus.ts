import { fold, type Key, shuffled } from "@rlhf/core/random";
import { usesCommonWords } from "./common_words.ts";
import { byLot } from "./lot.ts";
import { sentencesOf } from "./sentences.ts";
import type { Synset, Wordnet } from "./wordnet.ts";

export interface Corpus {
  readonly train: ReadonlyArray<string>;
  readonly validation: ReadonlyArray<string>;
}

/** Lines of a page, a few meanings' worth: longer than the model's context, as the documents of real corpora are. */
const pageLines = 20;

/**
 * The pretraining text: WordNet's definitions and example sentences in common words, a line each, on pages of neighbouring
 * meanings (WordNet's order keeps kinds of food with kinds of food). A page ends nowhere near an answer's length, so the
 * base model does not know when to stop. A sentence that serves several meanings appears once. The split is by
 * meaning; the order of pages is random, so that any beginning of the list is a fair sample.
 */
export function makeCorpus(wordnet: Wordnet, key: Key): Corpus {
  const seen = new Set<string>();
  const lines = { train: [] as Array<string>, validation: [] as Array<string> };
  for (const synset of wordnet.synsets.values()) {
    for (const line of sentencesOf(wordnet, synset)) {
      if (seen.has(line) || !usesCommonWords(wordnet, line)) continue;
      seen.add(line);
      lines[isHeldOut(synset, key) ? "validation" : "train"].push(line);
    }
  }
  return {
    train: shuffled(fold(key, "corpus"), pagesOf(lines.train)),
    validation: shuffled(fold(key, "held-out corpus"), pagesOf(lines.validation)),
  };
}

function pagesOf(lines: ReadonlyArray<string>): ReadonlyArray<string> {
  return Array.from({ length: Math.ceil(lines.length / pageLines) }, (_, page) =>
    lines.slice(page * pageLines, (page + 1) * pageLines).join("\n"),
  );
}

/** One meaning in twenty belongs to validation, in the corpus as in the demonstrations. */
export function isHeldOut(synset: Synset, key: Key): boolean {
  return byLot(key, synset.id, 0.05);
}
