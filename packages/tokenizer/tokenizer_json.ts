/** An entry of `added_tokens`: a string that is always one token, wherever it stands. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** One part of the pipeline, such as `{ type: "ByteLevel", … }`. */
export interface TokenizerPart {
  readonly type: string;
  readonly [setting: string]: unknown;
}

/** Hugging Face's `tokenizer.json`, as written by `trainBpe` and by the `tokenizers` library. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: unknown;
  readonly padding: unknown;
  readonly added_tokens: ReadonlyArray<AddedToken>;
  readonly normalizer: TokenizerPart | null;
  readonly pre_tokenizer: TokenizerPart | null;
  readonly post_processor: TokenizerPart | null;
  readonly decoder: TokenizerPart | null;
  readonly model: TokenizerPart & {
    /** Token → id. */
    readonly vocab: Readonly<Record<string, number>>;
    /** In order of rank; older files write a pair as one string. */
    readonly merges: ReadonlyArray<readonly [string, string] | string>;
  };
}
