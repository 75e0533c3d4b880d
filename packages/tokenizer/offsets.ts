import type { Tokenizer } from "./tokenizer.ts";
import type { TokenizerJson, TokenizerPart } from "./tokenizer_json.ts";

/** First and one past the last place of a token in the text, as `text.slice` takes them. */
export type Offset = readonly [begin: number, end: number];

/** A character of the normalised text and the place of the original character that it comes from. */
interface Character {
  readonly text: string;
  readonly begin: number;
  readonly end: number;
}

/**
 * Where each token of `tokenizer.encode(text)` stands in the text, as the `offsets` of Hugging Face's tokenizers (which
 * count code points): a token that holds only some bytes of a character gets the whole character, and a composed
 * character the place of its first part.
 *
 * @throws RangeError when the ids are not those of the text, or the tokenizer has a normalizer that is not known here
 */
export function tokenOffsets(
  tokenizer: Tokenizer,
  text: string,
  ids: ReadonlyArray<number>,
): ReadonlyArray<Offset> {
  const json = tokenizer.toJSON();
  const isByteLevel = partsOf(json.pre_tokenizer).some(({ type }) => type === "ByteLevel");
  const isWordPiece = json.model.type === "WordPiece";
  const unknown = (json.model as { unk_token?: string }).unk_token;
  const prefix = (json.model as { continuing_subword_prefix?: string }).continuing_subword_prefix ?? "##";
  const offsets: Array<Offset> = [];
  const nextToken = (): string => {
    const token = ids.length > offsets.length ? tokenizer.idToToken(ids[offsets.length]!) : undefined;
    if (token === undefined) throw new RangeError("Cannot give offsets: the ids are not those of the text");
    return token;
  };
  const bytesOf = (token: string): number => {
    if (isByteLevel) return token.length;
    if (/^<0x[0-9A-F]{2}>$/.test(token)) return 1;
    return utf8Length(isWordPiece && token.startsWith(prefix) ? token.slice(prefix.length) : token);
  };

  let at = 0;
  for (const [i, section] of sectionsOf(json, text).entries()) {
    if (i % 2 === 1) {
      offsets.push([at, at + section.length]);
    } else {
      const characters = normalized(json, section, at);
      let place = 0; // in bytes of `characters`
      const ends = cumulative(characters);
      const total = ends.at(-1) ?? 0;
      let reached = 0; // places only grow
      const indexAt = (byte: number) => {
        while (reached < ends.length && ends[reached]! <= byte) reached += 1;
        return reached;
      };
      while (place < total) {
        let first = indexAt(place);
        if (isWordPiece) {
          while (first < characters.length && isSpace(characters[first]!.text)) first += 1;
          if (first === characters.length) break;
          place = Math.max(place, ends[first]! - utf8Length(characters[first]!.text));
        }
        const token = nextToken();
        const end =
          isWordPiece && token === unknown ? ends[wordEnd(characters, first)]! : place + bytesOf(token);
        const last = indexAt(end - 1);
        if (last === characters.length)
          throw new RangeError("Cannot give offsets: the ids are not those of the text");
        offsets.push([characters[first]!.begin, characters[last]!.end]);
        place = end;
      }
    }
    at += section.length;
  }
  if (offsets.length !== ids.length)
    throw new RangeError("Cannot give offsets: the ids are not those of the text");
  return offsets;
}

/** The text cut at its added tokens, which are the odd sections. */
function sectionsOf(json: TokenizerJson, text: string): ReadonlyArray<string> {
  const patterns = [...json.added_tokens]
    .sort((a, b) => b.content.length - a.content.length)
    .map(({ content, lstrip, rstrip }) => {
      const literal = content.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
      return `${lstrip ? "\\s*" : ""}${literal}${rstrip ? "\\s*" : ""}`;
    });
  return patterns.length === 0 ? [text] : text.split(new RegExp(`(${patterns.join("|")})`));
}

function normalized(json: TokenizerJson, section: string, at: number): ReadonlyArray<Character> {
  let place = at;
  let characters: ReadonlyArray<Character> = Array.from(section, (text) => {
    const begin = place;
    place += text.length;
    return { text, begin, end: place };
  });
  for (const part of partsOf(json.normalizer)) characters = normalizedBy(part, characters);
  for (const part of partsOf(json.pre_tokenizer)) {
    if (part.type === "ByteLevel" && part.add_prefix_space === true && !isSpace(section.charAt(0))) {
      characters = prepended(" ", characters);
    }
    if (part.type === "Metaspace") {
      const sign = String(part.replacement ?? "▁");
      characters = replaced(" ", sign, characters);
      const scheme = part.prepend_scheme ?? "always";
      if ((scheme === "always" || (scheme === "first" && at === 0)) && characters[0]?.text !== sign) {
        characters = prepended(sign, characters);
      }
    }
  }
  return characters;
}

function normalizedBy(part: TokenizerPart, characters: ReadonlyArray<Character>): ReadonlyArray<Character> {
  switch (part.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return composed(part.type, characters);
    case "Lowercase":
      return mapped(characters, (text) => text.toLowerCase());
    case "StripAccents":
      return mapped(characters, (text) => (/\p{Mn}/u.test(text) ? "" : text));
    case "Prepend":
      return prepended(String(part.prepend), characters);
    case "Replace": {
      const { String: from } = part.pattern as { String?: string };
      if (from !== undefined && [...from].length === 1)
        return replaced(from, String(part.content), characters);
      break;
    }
    case "BertNormalizer":
      return bertNormalized(part, characters);
  }
  throw new RangeError(`Cannot give offsets: the normalizer ${part.type} is not known here`);
}

/** BERT's: no control characters, plain spaces, CJK on its own, and where it lowers case, no accents. */
function bertNormalized(part: TokenizerPart, characters: ReadonlyArray<Character>): ReadonlyArray<Character> {
  let result = characters;
  if (part.clean_text !== false) {
    result = mapped(result, (text) => {
      if (/[^\t\n\r\P{Cc}]|[\p{Cf}\p{Co}\ufffd]/u.test(text)) return "";
      return isSpace(text) ? " " : text;
    });
  }
  if (part.handle_chinese_chars !== false) {
    result = result.flatMap((one) =>
      isIdeograph(one.text) ? [{ ...one, text: " " }, one, { ...one, text: " " }] : [one],
    );
  }
  if (part.strip_accents === true || (part.strip_accents == null && part.lowercase === true)) {
    result = mapped(result, (text) => text.normalize("NFD").replace(/\p{Mn}/gu, ""));
  }
  return part.lowercase === true ? mapped(result, (text) => text.toLowerCase()) : result;
}

function mapped(
  characters: ReadonlyArray<Character>,
  change: (text: string) => string,
): ReadonlyArray<Character> {
  return characters.flatMap(({ text, begin, end }) =>
    Array.from(change(text), (text) => ({ text, begin, end })),
  );
}

function replaced(from: string, to: string, characters: ReadonlyArray<Character>): ReadonlyArray<Character> {
  return mapped(characters, (text) => (text === from ? to : text));
}

/** What is put before a text counts to its first character. */
function prepended(text: string, characters: ReadonlyArray<Character>): ReadonlyArray<Character> {
  const first = characters[0];
  return first === undefined ? [] : [...Array.from(text, (text) => ({ ...first, text })), ...characters];
}

/** Unicode's normal forms change a letter with its marks, or the parts of a Korean syllable, together. */
function composed(
  form: "NFC" | "NFD" | "NFKC" | "NFKD",
  characters: ReadonlyArray<Character>,
): ReadonlyArray<Character> {
  const result: Array<Character> = [];
  for (let from = 0; from < characters.length; ) {
    let to = from + 1;
    while (to < characters.length && /[\p{M}\u1160-\u11ff]/u.test(characters[to]!.text)) to += 1;
    const cluster = characters.slice(from, to);
    const text = cluster
      .map((one) => one.text)
      .join("")
      .normalize(form);
    for (const [i, one] of [...text].entries()) {
      result.push({ ...cluster[Math.min(i, cluster.length - 1)]!, text: one });
    }
    from = to;
  }
  return result;
}

/** The last character of the word that begins here, as BERT cuts words. */
function wordEnd(characters: ReadonlyArray<Character>, first: number): number {
  if (isPunctuation(characters[first]!.text)) return first;
  let last = first;
  while (last + 1 < characters.length) {
    const { text } = characters[last + 1]!;
    if (isSpace(text) || isPunctuation(text)) break;
    last += 1;
  }
  return last;
}

function partsOf(part: TokenizerPart | null): ReadonlyArray<TokenizerPart> {
  if (part === null) return [];
  if (part.type !== "Sequence") return [part];
  const parts = (part.normalizers ?? part.pretokenizers) as ReadonlyArray<TokenizerPart>;
  return parts.flatMap(partsOf);
}

function cumulative(characters: ReadonlyArray<Character>): ReadonlyArray<number> {
  let sum = 0;
  return characters.map(({ text }) => {
    sum += utf8Length(text);
    return sum;
  });
}

const encoder = new TextEncoder();
const utf8Length = (text: string): number => encoder.encode(text).length;
const isSpace = (text: string): boolean => /^\p{White_Space}$/u.test(text);
const isPunctuation = (text: string): boolean => /^[!-/:-@[-`{-~\p{P}]$/u.test(text);
const isIdeograph = (text: string): boolean =>
  /^[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]$/u.test(
    text,
  );
