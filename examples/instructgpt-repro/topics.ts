import { namedMeaning, nounMeaning, spelledWords } from "./nouns.ts";
import type { Wordnet } from "./wordnet.ts";

/**
 * What a sentence can be asked to be about, and which nouns count as mentioning it: those whose first meaning is in a
 * lexicographer file of WordNet (a number) or is a kind of one of these words (in its first meaning, or the numbered).
 */
const topicRoots: Readonly<Record<string, ReadonlyArray<number | string>>> = {
  people: [18, "people", "friendship", "party"],
  family: [
    "relative",
    "family",
    "family 2",
    "kin",
    "marriage",
    "spouse",
    "wedding",
    "child",
    "child 2",
    "baby",
    "boy",
    "girl",
  ],
  food: [13, "meal", "food 2", "cooking", "restaurant"],
  nature: [
    17,
    20,
    "garden",
    "forest",
    "weather",
    "atmospheric phenomenon",
    "season 2",
    "body of water",
    "water",
    "water 6",
  ],
  home: [
    "house",
    "room",
    "building",
    "dwelling",
    "home",
    "door",
    "window",
    "wall",
    "furniture",
    "clothing",
    "footwear",
  ],
  work: [
    "work",
    "occupation",
    "worker",
    "employee",
    "employer",
    "office",
    "business",
    "school",
    "educator",
    "student",
  ],
  health: [8, "illness", "medicine 2", "doctor", "hospital", "pain", "health", "injury", "patient", "wound"],
  time: [28],
};

/** Words that mention a topic although their first meaning as a noun is elsewhere, or they are more often no noun. */
const topicWords: Readonly<Record<string, ReadonlyArray<string>>> = {
  food: ["food", "foods", "eat", "ate", "eats", "eaten", "cook", "cooked"],
  nature: ["nature", "plant", "plants"],
  time: ["time", "times"],
  work: ["work", "works", "worked", "working", "hired"],
};

export const topics: ReadonlyArray<string> = Object.keys(topicRoots);

/** Which topics does a text mention? Built once; what is known about a word is kept. */
export function topicFinder(wordnet: Wordnet): (text: string) => ReadonlySet<string> {
  const topicsByRoot = new Map<number | string, Array<string>>();
  for (const [topic, roots] of Object.entries(topicRoots)) {
    for (const root of roots) {
      const at = typeof root === "number" ? root : namedMeaning(wordnet, root).id;
      topicsByRoot.set(at, [...(topicsByRoot.get(at) ?? []), topic]);
    }
  }
  const listed = (word: string) => topics.filter((topic) => topicWords[topic]?.includes(word.toLowerCase()));
  const topicsByWord = new Map<string, ReadonlyArray<string>>();
  const topicsOf = (word: string) => {
    const known = topicsByWord.get(word);
    if (known) return known;
    const meaning = nounMeaning(wordnet, word);
    const roots = meaning ? [meaning.category, ...wordnet.ancestors(meaning)] : [];
    const found = [...listed(word), ...roots.flatMap((root) => topicsByRoot.get(root) ?? [])];
    topicsByWord.set(word, found);
    return found;
  };
  return (text) => new Set(spelledWords(text).flatMap(topicsOf));
}
