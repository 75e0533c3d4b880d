import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** How many people rated every word. */
export const raterCount = 10;

/** Word → the ratings that the ten people gave it, from −4 (most negative) to 4 (most positive). */
export type Lexicon = ReadonlyMap<string, ReadonlyArray<number>>;

/**
 * The individual human ratings of VADER's lexicon (Hutto and Gilbert 2014, "VADER: a parsimonious rule-based model
 * for sentiment analysis of social media text"), about 7,500 words, read from the package `vader-sentiment`.
 */
export function readLexicon(): Lexicon {
  const path = createRequire(import.meta.url).resolve("vader-sentiment/vader_lexicon.txt");
  const lexicon = new Map<string, ReadonlyArray<number>>();
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [word, , , ratings] = line.split("\t");
    if (word && ratings) lexicon.set(word, JSON.parse(ratings));
  }
  return lexicon;
}
