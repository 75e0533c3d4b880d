import type { TokenizerJson } from "./tokenizer_json.ts";

/** Ids of the tokens with a role; `eos` and `pad` always differ. */
export interface SpecialIds {
  readonly eos: number;
  readonly pad: number;
  readonly bos?: number;
  readonly mask?: number;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** One more than the largest id: the number of rows that the model's embedding needs. */
  readonly vocabSize: number;
  readonly specials: SpecialIds;
  /**
   * The token ids of a text. Nothing is added: no end or start of sequence. Special tokens that are written out in
   * the text become their ids.
   */
  readonly encode: (text: string) => Array<number>;
  /**
   * The text of token ids; bytes that are not UTF-8 become U+FFFD. `skipSpecial` leaves special tokens out.
   *
   * @throws RangeError when an id is not in the vocabulary.
   */
  readonly decode: (ids: ArrayLike<number>, options?: { readonly skipSpecial?: boolean }) => string;
  readonly tokenToId: (token: string) => number | undefined;
  readonly idToToken: (id: number) => string | undefined;
  /** The `tokenizer.json` it was made from. */
  readonly toJSON: () => TokenizerJson;
}
