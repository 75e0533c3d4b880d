import { byteCharacters, toByteCharacters } from "./_byte_alphabet.ts";
import { byteLevelJson } from "./_byte_level_json.ts";
import { MergeQueue } from "./_merge_queue.ts";
import { padRemedy, specialRoles } from "./_special_ids.ts";
import { forEachWord } from "./_words.ts";
import { defaultSpecialTokens, type SpecialTokens, specialToken } from "./special_tokens.ts";
import type { TokenizerJson } from "./tokenizer_json.ts";

export interface TrainBpeOptions {
  /** Tokens in all: the special tokens, the 256 bytes and the merges. A small text may not have that many merges. */
  readonly vocabSize: number;
  /** They take the first ids, in the order eos, pad, bos, mask. Default `<|endoftext|>` and `<|pad|>`. */
  readonly specialTokens?: SpecialTokens;
  /** Called every 64 merges and at the end with the size of the vocabulary so far. */
  readonly onProgress?: (tokens: number, vocabSize: number) => void;
}

/**
 * Learns a byte-level BPE vocabulary: starts from the 256 bytes and merges the most frequent pair of neighbouring
 * tokens within a word until the vocabulary is full.
 *
 * Sennrich et al. 2016 (arXiv:1508.07909) on bytes as in GPT-2 (Radford et al. 2019). Merges and ids equal those of
 * Hugging Face's `BpeTrainer`, ties included: of equally frequent pairs the one with the smaller ids comes first.
 *
 * @returns a `tokenizer.json` with byte-level pre-tokenizer and decoder.
 * @throws RangeError when `vocabSize` has no room for the bytes and special tokens, or two roles share a token.
 * @example
 * ```ts
 * import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
 *
 * const tokenizer = tokenizerFromJson(trainBpe(["the cat", "the mat"], { vocabSize: 262 }));
 * console.log(tokenizer.encode("the cat").map(tokenizer.idToToken)); // ["the", "Ġ", "cat"]
 * console.log(tokenizer.decode(tokenizer.encode("the bat"))); // "the bat"
 * ```
 */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): TokenizerJson {
  const { vocabSize, specialTokens = defaultSpecialTokens, onProgress } = options;
  const specials = specialRoles.flatMap((role) => specialTokens[role] ?? []);
  assertTrainable(vocabSize, specials, specialTokens);

  const tokens = [...new Set([...specials, ...[...byteCharacters].sort()])];
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const words = countWords(texts, idOf);
  const merged: Array<number> = []; // pairs in order of rank

  const counts = new Map<number, number>();
  let found = new Map<number, Array<number>>(); // pair → words that hold it
  const note = (first: number, second: number, word: number, change: number) => {
    const pair = first * vocabSize + second;
    counts.set(pair, (counts.get(pair) ?? 0) + change * words[word]!.count);
    if (change < 0) return;
    const holders = found.get(pair);
    if (holders === undefined) found.set(pair, [word]);
    else if (holders.at(-1) !== word) holders.push(word);
  };
  const queue = new MergeQueue();
  const enqueueFound = () => {
    for (const [pair, holders] of found) {
      const count = counts.get(pair)!;
      if (count > 0) queue.push({ pair, count, words: holders });
    }
    found = new Map();
  };

  words.forEach(({ symbols }, word) => {
    for (let i = 1; i < symbols.length; i++) note(symbols[i - 1]!, symbols[i]!, word, 1);
  });
  enqueueFound();

  while (tokens.length < vocabSize) {
    const top = queue.pop();
    if (top === undefined) break;
    const count = counts.get(top.pair)!;
    if (top.count !== count) {
      queue.push({ ...top, count });
      continue;
    }
    if (count < 1) break;
    const first = Math.floor(top.pair / vocabSize);
    const second = top.pair % vocabSize;
    const token = tokens[first]! + tokens[second]!;
    // A merge may spell a token that is there already, such as a special token: that token keeps its id.
    const id = idOf.get(token) ?? tokens.push(token) - 1;
    idOf.set(token, id);
    merged.push(top.pair);
    for (const word of top.words) {
      mergePair(words[word]!, first, second, id, (a, b, change) => note(a, b, word, change));
    }
    enqueueFound();
    if (tokens.length % 64 === 0) onProgress?.(tokens.length, vocabSize);
  }
  onProgress?.(tokens.length, vocabSize);

  const merges = merged.map(
    (pair) => [tokens[Math.floor(pair / vocabSize)]!, tokens[pair % vocabSize]!] as const,
  );
  const added = specials.map((token, id) => specialToken(id, token));
  return byteLevelJson(added, Object.fromEntries(idOf), merges);
}

interface Word {
  symbols: Array<number>;
  readonly count: number;
}

function countWords(texts: Iterable<string>, idOf: ReadonlyMap<string, number>): Array<Word> {
  const counts = new Map<string, number>();
  for (const text of texts) forEachWord(text, (word) => counts.set(word, (counts.get(word) ?? 0) + 1));
  return Array.from(counts, ([word, count]) => ({
    symbols: Array.from(toByteCharacters(word), (character) => idOf.get(character)!),
    count,
  }));
}

/** Replaces each first–second in the word by `merged` and reports how its pairs changed. */
function mergePair(
  word: Word,
  first: number,
  second: number,
  merged: number,
  changed: (first: number, second: number, change: 1 | -1) => void,
): void {
  const { symbols } = word;
  let kept = 0;
  for (let i = 0; i < symbols.length; i++, kept++) {
    if (symbols[i] !== first || symbols[i + 1] !== second) {
      symbols[kept] = symbols[i]!;
      continue;
    }
    if (kept > 0) {
      changed(symbols[kept - 1]!, first, -1);
      changed(symbols[kept - 1]!, merged, 1);
    }
    const next = symbols[i + 2];
    if (next !== undefined) {
      changed(second, next, -1);
      changed(merged, next, 1);
    }
    symbols[kept] = merged;
    i++;
  }
  symbols.length = kept;
}

function assertTrainable(vocabSize: number, specials: ReadonlyArray<string>, roles: SpecialTokens): void {
  const floor = byteCharacters.length + specials.length;
  if (!Number.isInteger(vocabSize) || vocabSize < floor) {
    throw new RangeError(
      `Cannot train a tokenizer: vocabSize must be an integer of at least ${floor} (256 bytes and ${specials.length} special tokens), got ${vocabSize}`,
    );
  }
  if (roles.eos === roles.pad) {
    throw new RangeError(`Cannot train a tokenizer: the pad token is the eos token; ${padRemedy}`);
  }
  if (specials.includes("") || new Set(specials).size < specials.length) {
    throw new RangeError(
      `Cannot train a tokenizer: special tokens must differ from one another and not be empty, got ${JSON.stringify(roles)}`,
    );
  }
}
