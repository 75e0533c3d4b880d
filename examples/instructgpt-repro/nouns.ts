import type { PartOfSpeech, Synset, Wordnet } from "./wordnet.ts";

/** Function words and irregular past forms that are spelled like a rare noun ("saw", "us"). */
const neverNouns = new Set(
  `about above after all and any are been being both but can could did does doing down each else ever every few for from
  had has have having her here hers him his how into its just less like many may might more most much must near not off
  once one only other our ours out over per same shall she should some such than that the their them then there these
  they this those though through too under until upon was well were what when where which while who whom why will with
  would yet you your bore bound cast cut drove dove fell felt found ground hit kept lay left let lit met put read rose
  saw set shed shot shut spoke thought won wound`.split(/\s+/),
);

const irregularPlurals: Readonly<Record<string, string>> = {
  men: "man",
  women: "woman",
  people: "people",
  children: "child",
  feet: "foot",
  teeth: "tooth",
  geese: "goose",
  mice: "mouse",
  wives: "wife",
  lives: "life",
  knives: "knife",
  leaves: "leaf",
  wolves: "wolf",
  halves: "half",
  loaves: "loaf",
  thieves: "thief",
  shelves: "shelf",
  oxen: "ox",
};

/** The words of a text as they are spelled: capitals tell names from other words. */
export function spelledWords(text: string): Array<string> {
  return text.match(/[A-Za-z]+(?:['’-][A-Za-z]+)*/g) ?? [];
}

/**
 * What a word of a text means as a noun: the first meaning of its base form. `undefined` where it is no noun, is met
 * more often as another part of speech, or is a name that is not spelled like one ("ate", for the goddess).
 */
export function nounMeaning(wordnet: Wordnet, spelled: string): Synset | undefined {
  const word = spelled.toLowerCase();
  if (word.length < 3 || neverNouns.has(word)) return undefined;
  for (const base of baseForms(word)) {
    const meaning = wordnet.senses(base, "n")[0]?.synset;
    if (!meaning) continue;
    const elsewhere = (["v", "a", "r"] as const).map((pos) => frequency(wordnet, base, pos));
    const isNoun = frequency(wordnet, base, "n") >= Math.max(...elsewhere);
    return isNoun && (spelled !== word || meaning.words.includes(base)) ? meaning : undefined;
  }
  return undefined;
}

/** The meaning that "food 2" names: the second one of the noun "food"; without a number the first. */
export function namedMeaning(wordnet: Wordnet, name: string): Synset {
  const [, word, number = "1"] = name.match(/^(.*?)(?: (\d))?$/)!;
  return wordnet.senses(word!, "n")[Number(number) - 1]!.synset;
}

/** How often the word was met as this part of speech in WordNet's sense-tagged text. */
export function frequency(wordnet: Wordnet, word: string, pos: PartOfSpeech): number {
  return wordnet.senses(word, pos).reduce((sum, sense) => sum + sense.count, 0);
}

function baseForms(word: string): ReadonlyArray<string> {
  const stem = word.replace(/['’]s$/, "");
  const forms = [irregularPlurals[stem] ?? stem];
  if (stem.endsWith("ies")) forms.push(`${stem.slice(0, -3)}y`);
  if (stem.endsWith("s") && !stem.endsWith("ss")) forms.push(stem.slice(0, -1));
  if (/(?:s|x|z|ch|sh|o)es$/.test(stem)) forms.push(stem.slice(0, -2));
  return forms;
}
