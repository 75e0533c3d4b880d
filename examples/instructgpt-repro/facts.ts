import { isProfane } from "@rlhf/labeler/harmlessness";
import { usesCommonWords } from "./common_words.ts";
import { frequency, namedMeaning, nounMeaning } from "./nouns.ts";
import { definitionSentence } from "./sentences.ts";
import type { Wordnet } from "./wordnet.ts";

/** What WordNet knows about words, for questions that have a right answer. */
export interface Facts {
  /** Noun → its definition as a sentence. */
  readonly definitions: ReadonlyMap<string, string>;
  /** Word → its opposites. */
  readonly opposites: ReadonlyMap<string, ReadonlySet<string>>;
  /** Noun → the {@link categories} that it belongs to, the nearest first. */
  readonly categoriesOf: ReadonlyMap<string, ReadonlyArray<string>>;
  /** Is the noun, in its first meaning, a kind of what `kind` names? Kinds that say next to nothing do not count. */
  readonly isKindOf: (noun: string, kind: string) => boolean;
}

/** Everyday kinds of countable things; a number picks a meaning that is not the word's first. */
const categoryNames =
  `animal, bird, fish, insect, dog, horse, snake, tree, flower, fruit, vegetable, herb, grass, sauce,
  soup, drink 3, wine, dish 2, dessert, spice 2, person, worker, leader, relative, child, doctor, lawyer, scientist,
  artist, writer, musician, soldier, athlete, criminal, clergyman, building, house, room, road, vehicle, car, boat,
  ship, aircraft, machine, tool, weapon, container, bed, chair, garment, shoe, hat, fabric, toy 3, musical instrument,
  game, sport, dance 3, song, book, letter, story, law 2, crime, meeting, journey, disease, injury, medicine 2,
  body part, bone, muscle, organ, metal, mineral, color, feeling, language, country, city, island, mountain, lake, sea,
  unit, shape, number, tax, storm, sound 4, science`.split(/,\s+/);

const vague = new Set([
  "entity",
  "physical entity",
  "abstraction",
  "abstract entity",
  "thing",
  "object",
  "physical object",
  "whole",
  "matter",
]);

export const categories: ReadonlyArray<string> = categoryNames.map((name) => name.replace(/ \d$/, ""));

/** Collects the facts about lower-case single words, in common words. */
export function readFacts(wordnet: Wordnet): Facts {
  const categoryOfId = new Map(
    categoryNames.map((name, i) => [namedMeaning(wordnet, name).id, categories[i]!]),
  );
  const definitions = new Map<string, string>();
  const categoriesOf = new Map<string, ReadonlyArray<string>>();
  const opposites = new Map<string, Set<string>>();
  for (const synset of wordnet.synsets.values()) {
    for (const [word, opposite] of synset.opposites) {
      if (!isPlain(word) || !isPlain(opposite) || !usesCommonWords(wordnet, `${word} ${opposite}`)) continue;
      opposites.set(word, (opposites.get(word) ?? new Set()).add(opposite));
    }
    for (const word of synset.words) {
      if (!isPlain(word) || nounMeaning(wordnet, word) !== synset || frequency(wordnet, word, "n") === 0)
        continue;
      // A definition that starts with an article is one of a countable noun: "a violin is a …".
      const definition = definitionSentence(synset, word);
      if (!definition || !/^An? /.test(definition) || !usesCommonWords(wordnet, definition)) continue;
      definitions.set(word, definition);
      const above = [...wordnet.ancestors(synset)].flatMap((id) => categoryOfId.get(id) ?? []);
      const others = above.filter((category) => category !== word);
      if (others.length > 0) categoriesOf.set(word, others);
    }
  }
  const isKindOf = (noun: string, kind: string) => {
    const meaning = nounMeaning(wordnet, noun);
    if (!meaning || kind === noun || vague.has(kind)) return false;
    return [...wordnet.ancestors(meaning)].some((id) => wordnet.synsets.get(id)!.words.includes(kind));
  };
  return { definitions, opposites, categoriesOf, isKindOf };
}

function isPlain(word: string): boolean {
  return /^[a-z]{3,}$/.test(word) && !isProfane(word);
}
