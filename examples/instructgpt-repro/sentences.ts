/**
 * WordNet's text as sentences. All of it is brought into one form (one line, a capital first, `.`, `!` or `?` last),
 * in the corpus and in the demonstrations alike, so that "well-formed" can be learnt and can be judged.
 */
import { isProfane } from "@rlhf/labeler/harmlessness";
import { words } from "@rlhf/labeler/words";
import { frequency } from "./nouns.ts";
import type { Synset, Wordnet } from "./wordnet.ts";

const longest = 30;

/**
 * All that WordNet says about a meaning: its definition and its examples. Definitions are those of words in use (met at least
 * once in WordNet's tagged text): most of the others are of Latin genera and technical terms.
 */
export function sentencesOf(wordnet: Wordnet, synset: Synset): ReadonlyArray<string> {
  const word = synset.words[0]!;
  const isInUse = /^[a-z]+(?:[ '-][a-z]+)*$/.test(word) && frequency(wordnet, word, synset.pos) > 0;
  const definition = isInUse ? definitionSentence(synset, word) : undefined;
  return [...(definition ? [definition] : []), ...exampleSentences(synset)];
}

const known = new WeakMap<Synset, ReadonlyArray<string>>();

/** The example sentences of a meaning that have four words or more and no profanity. */
export function exampleSentences(synset: Synset): ReadonlyArray<string> {
  const sentences = known.get(synset) ?? synset.examples.map(sentence).filter((text) => text !== undefined);
  known.set(synset, sentences); // they are asked for again and again
  return sentences;
}

/**
 * The definition of a meaning as a sentence about `word`: "A violin is a bowed stringed instrument …." for a noun,
 * "To unravel is to become undone." for a verb, "Maladjusted means not well adjusted." for the rest. `undefined`
 * where that would not be English: a noun's definition must start with an article or another determiner.
 */
export function definitionSentence(synset: Synset, word: string): string | undefined {
  const definition = synset.definition
    .replace(/\([^)]*\)/g, " ")
    .split(";")[0]!
    .replace(/\s+/g, " ")
    .replaceAll(" ,", ",")
    .trim();
  if (synset.pos === "v") return sentence(`to ${word} is to ${definition}`);
  if (synset.pos !== "n") return sentence(`${word} means ${definition}`);
  if (/^(?:an?|any|one|some(?:one|body|thing)) /.test(definition)) {
    return sentence(`${withArticle(word)} is ${definition}`);
  }
  return /^(?:the|that|what) /.test(definition) ? sentence(`${word} is ${definition}`) : undefined;
}

/** "a violin", "an owl", "an hour", "a unit". */
export function withArticle(word: string): string {
  const vowel =
    /^(?:[aeiou]|hour|heir|hono|honest)/.test(word) && !/^(?:uni|use|usu|ute|eu|ew|one|once)/.test(word);
  return `${vowel ? "an" : "a"} ${word}`;
}

function sentence(text: string): string | undefined {
  const plain = text
    .replace(/[`´]/g, "'")
    .replace(/\s+/g, " ")
    .replace(/[\s,;:-]+$/, "")
    .trim();
  const count = words(plain).length;
  if (count < 4 || count > longest || /[^A-Za-z0-9 ,.;:'!?$%-]|\.\./.test(plain)) return undefined;
  if (!/^[A-Za-z]/.test(plain) || isProfane(plain)) return undefined;
  return plain[0]!.toUpperCase() + plain.slice(1) + (/[.!?]'?$/.test(plain) ? "" : ".");
}
