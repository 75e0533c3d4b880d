import { namedMeaning, nounMeaning, spelledWords } from "./nouns.ts";
import type { Wordnet } from "./wordnet.ts";

/**
 * What a sentence can be asked to be about, and which nouns count as mentioning it: those whose first meaning is in a
 * lexicographer file of WordNet (a number) or is a kind of one of these words (in its first meaning, or the numbered).
 */
const topicRoots: Readonly<Record<string, ReadonlyArray<number | string>>> = {
  food: [13, "meal", "food 2", "cooking", "restaurant"],
  animals: [5],
  plants: [20, "garden", "forest", "forest 2"],
  "the body": [8],
  feelings: [12],
  time: [28],
  money: [21, "payment", "price 2"],
  places: [15],
  nature: [17],
  weather: ["weather", "atmospheric phenomenon", "precipitation 3", "season 2", "temperature"],
  water: ["body of water", "water", "water 6", "boat", "ship", "swimming"],
  family: ["relative", "family", "family 2", "kin", "marriage", "spouse", "wedding", "parent"],
  children: ["child", "child 2", "baby", "boy", "girl", "childhood", "toy 3"],
  work: ["work", "occupation", "worker", "employee", "employer", "office", "business"],
  school: ["school", "educator", "student", "education", "class 2", "lesson", "academic degree"],
  books: ["publication", "book", "literary composition", "writer", "story", "letter"],
  language: ["word", "language", "speech", "statement", "question", "answer"],
  music: ["music", "music 2", "musician", "musical instrument", "musical composition", "dancing", "singer"],
  art: ["art", "picture", "artist", "movie", "play", "actor", "sculpture"],
  sport: ["sport", "game", "game 2", "athlete", "team", "contest", "player"],
  war: ["war", "military", "weapon", "soldier", "military officer", "battle", "military action", "enemy"],
  law: ["law", "law 2", "crime", "court", "judge", "criminal", "punishment", "policeman", "prison"],
  politics: ["government", "politician", "election", "president", "state 4", "head of state", "party", "tax"],
  health: ["illness", "medicine 2", "doctor", "hospital", "pain", "health", "injury", "patient", "wound"],
  religion: ["religion", "god", "deity", "clergyman", "church", "church 2", "prayer", "religious person"],
  clothes: ["clothing", "footwear", "footwear 2", "fabric", "jewelry"],
  houses: ["house", "room", "building", "dwelling", "home", "door", "window", "wall", "furniture"],
  travel: ["travel", "vehicle", "road", "journey", "traveler", "transportation 2", "visit"],
  machines: ["machine", "tool", "computer", "electronic device", "engine"],
  people: [18, "people"],
};

/** Words that mention a topic although their first meaning as a noun is elsewhere, or they are more often no noun. */
const topicWords: Readonly<Record<string, ReadonlyArray<string>>> = {
  food: ["food", "foods", "eat", "ate", "eats", "eaten", "cook", "cooked"],
  animals: ["animal", "animals", "creature", "creatures"],
  plants: ["plant", "plants"],
  feelings: ["feeling", "feelings", "love", "loved", "loves", "hope", "hate", "hated"],
  time: ["time", "times"],
  nature: ["nature"],
  work: ["work", "works", "worked", "working", "hired"],
  politics: ["politics", "political"],
  travel: ["travel", "travels", "traveled", "traveling"],
  music: ["dance", "danced", "sing", "sings", "sang", "singing"],
  sport: ["play", "plays", "played", "playing"],
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
