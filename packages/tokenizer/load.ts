import * as HuggingFace from "@huggingface/tokenizers";
import { InvalidInput } from "@rlhf/core/errors";
import { checkpointFiles } from "@rlhf/hub/checkpoint_files";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import { toByteCharacters } from "./_byte_alphabet.ts";
import { gpt2Json } from "./_byte_level_json.ts";
import { checkTokenizerJson } from "./_check_tokenizer_json.ts";
import { roleToken, specialIds, specialRoles } from "./_special_ids.ts";
import { forEachWord } from "./_words.ts";
import { addSpecialTokens, defaultSpecialTokens, type SpecialTokens } from "./special_tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer_json.ts";

export interface LoadOptions {
  /** Which tokens play the roles. What is not named here is found by its customary name, such as `<|endoftext|>`. */
  readonly specialTokens?: Partial<SpecialTokens>;
  /**
   * Gives a vocabulary that has no token for padding alone, such as GPT-2's, one behind its last: `<|pad|>`. The model needs
   * a row for it: `resizeEmbeddings` of `@rlhf/transformer`.
   */
  readonly addPad?: boolean;
}

/**
 * A tokenizer from the contents of a `tokenizer.json`.
 *
 * @throws InvalidInput with everything that is wrong: a corrupt file, no eos or pad token, pad = eos.
 */
export function tokenizerFromJson(json: unknown, options: LoadOptions = {}): Tokenizer {
  return build(json, options, "tokenizer.json");
}

/**
 * A tokenizer from a `tokenizer.json`, or from a checkpoint that holds one, or GPT-2's `vocab.json` and `merges.txt`.
 * The checkpoint is a folder or a name on the Hub, such as `openai-community/gpt2` or `Qwen/Qwen3-0.6B@main`. A
 * `tokenizer_config.json` beside it says which tokens play the roles, unless `specialTokens` does.
 */
export const loadTokenizer = Effect.fn("loadTokenizer")(function* (place: string, options: LoadOptions = {}) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  const file = place.endsWith(".json") ? place : yield* fetchTokenizer(place);
  const readText = (name: string) =>
    Effect.mapError(files.readFileString(name), (error) =>
      invalid(name, `cannot be read (${error.reason._tag})`, "check the path and its permissions"),
    );
  const readJson = (name: string) =>
    Effect.flatMap(readText(name), (text) =>
      Effect.try({
        try: (): unknown => JSON.parse(text),
        catch: (error) =>
          invalid(name, `is not JSON: ${(error as Error).message}`, "copy the file again from its source"),
      }),
    );
  const beside = (name: string) => paths.join(paths.dirname(file), name);
  const exists = (name: string) => Effect.orElseSucceed(files.exists(name), () => false);
  const older = !(yield* exists(file)) && (yield* exists(beside("vocab.json")));
  const json = older
    ? gpt2Json(yield* readJson(beside("vocab.json")), yield* readText(beside("merges.txt")))
    : yield* readJson(file);
  const configFile = beside("tokenizer_config.json");
  const config = (yield* exists(configFile)) ? yield* readJson(configFile) : {};
  try {
    const specialTokens = { ...configuredTokens(config), ...options.specialTokens };
    return build(json, { ...options, specialTokens }, file);
  } catch (error) {
    if (error instanceof InvalidInput) return yield* error;
    throw error;
  }
});

/** Where the `tokenizer.json` of a checkpoint is, or would be: its older form lies there too. */
const fetchTokenizer = Effect.fnUntraced(function* (place: string) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const { folder, fetch } = yield* checkpointFiles(place);
  const file = path.join(folder, "tokenizer.json");
  yield* fetch(["tokenizer.json", "tokenizer_config.json"]);
  if (!(yield* files.exists(file))) yield* fetch(["vocab.json", "merges.txt"]);
  return file;
});

function build(
  value: unknown,
  { specialTokens = {}, addPad = false }: LoadOptions,
  where: string,
): Tokenizer {
  const checked = checkTokenizerJson(value, where);
  const { json, given } = addPad ? withPad(checked, specialTokens) : { json: checked, given: specialTokens };
  const { engine, model } = makeEngine(json, where);
  const vocabSize = model.vocab.length;
  const specials = specialIds(given, (token) => engine.token_to_id(token), where);
  const special = new Set<number>(Object.values(specials));
  for (const token of json.added_tokens) if (token.special) special.add(token.id);
  return {
    vocabSize,
    specials,
    encode: isByteLevel(json)
      ? byteLevelEncoder(json, engine, model)
      : (text) => engine.encode(text, { add_special_tokens: false }).ids,
    decode: (ids, { skipSpecial = false } = {}) => {
      const list = Array.from(ids);
      for (const id of list) {
        if (model.vocab[id] === undefined)
          throw new RangeError(
            `Cannot decode: ids must be in the vocabulary of ${vocabSize} tokens, got ${id}`,
          );
      }
      const kept = skipSpecial ? list.filter((id) => !special.has(id)) : list;
      return kept.length === 0 ? "" : engine.decode(kept, { clean_up_tokenization_spaces: false });
    },
    tokenToId: (token) => engine.token_to_id(token),
    idToToken: (id) => engine.id_to_token(id),
    toJSON: () => json,
  };
}

/** The tokenizer with a token for padding alone, and the roles with it. */
function withPad(json: TokenizerJson, given: Partial<SpecialTokens>) {
  const tokens = new Set([
    ...Object.keys(json.model.vocab),
    ...json.added_tokens.map(({ content }) => content),
  ]);
  const tokenOf = (role: "eos" | "pad") => roleToken(role, given, (token) => tokens.has(token));
  const pad = tokenOf("pad");
  if (pad !== undefined && pad !== tokenOf("eos")) return { json, given };
  const added = defaultSpecialTokens.pad;
  return { json: addSpecialTokens(json, [added]), given: { ...given, pad: added } };
}

type Model = NonNullable<HuggingFace.Tokenizer["model"]>;

function makeEngine(json: TokenizerJson, where: string) {
  try {
    const engine = new HuggingFace.Tokenizer(json, { clean_up_tokenization_spaces: false });
    return { engine, model: engine.model as Model };
  } catch (error) {
    throw invalid(
      where,
      `cannot be used: ${(error as Error).message}`,
      "write the file again with the tool that made it",
    );
  }
}

/** GPT-2's pipeline, as `trainBpe` makes it: no normalizer, words by its regular expression, bytes, BPE. */
function isByteLevel(json: TokenizerJson): boolean {
  const words = json.pre_tokenizer;
  return (
    json.normalizer === null &&
    json.model.type === "BPE" &&
    words?.type === "ByteLevel" &&
    words.use_regex !== false &&
    words.add_prefix_space !== true &&
    json.added_tokens.every((token) => !token.lstrip && !token.rstrip && !token.single_word)
  );
}

/**
 * Text repeats its words, so the ids of a word are kept; the library spends most of its time on finding them again.
 */
function byteLevelEncoder(json: TokenizerJson, engine: HuggingFace.Tokenizer, model: Model) {
  const idsOfWord = new Map<string, ReadonlyArray<number>>();
  const encodeWord = (word: string): ReadonlyArray<number> => {
    const known = idsOfWord.get(word);
    if (known !== undefined) return known;
    const tokens: ReadonlyArray<string> = model.encode([toByteCharacters(word)]);
    const ids = tokens.map((token) => model.tokens_to_ids.get(token)!);
    if (word.length > longestKeptWord) return ids;
    if (idsOfWord.size >= keptWords) idsOfWord.clear();
    // A slice keeps the text that it was cut from alive: keep a copy.
    idsOfWord.set(` ${word}`.slice(1), ids);
    return ids;
  };
  const splitter = addedTokenSplitter(json);
  return (text: string): Array<number> => {
    const ids: Array<number> = [];
    // Odd sections are added tokens: `split` keeps what its group captured.
    (splitter === undefined ? [text] : text.split(splitter)).forEach((section, i) => {
      if (i % 2 === 1) ids.push(engine.token_to_id(section)!);
      else
        forEachWord(section, (word) => {
          for (const id of encodeWord(word)) ids.push(id);
        });
    });
    return ids;
  };
}

const keptWords = 100_000;
const longestKeptWord = 256;

/** Matches the added tokens, the longest first. */
function addedTokenSplitter(json: TokenizerJson): RegExp | undefined {
  const contents = json.added_tokens.map((token) => token.content).sort((a, b) => b.length - a.length);
  if (contents.length === 0) return undefined;
  return new RegExp(`(${contents.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})`);
}

/** The tokens that a `tokenizer_config.json` names, each a string or an added token. */
function configuredTokens(config: unknown): Partial<SpecialTokens> {
  const entries = specialRoles.flatMap((role) => {
    const value = (config as Record<string, unknown> | null)?.[`${role}_token`];
    const token =
      typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
    return typeof token === "string" ? [[role, token]] : [];
  });
  return Object.fromEntries(entries);
}

function invalid(where: string, problem: string, remedy: string): InvalidInput {
  return new InvalidInput({ problems: [{ where, problem, remedy }] });
}
