import type { AddedToken, TokenizerJson } from "./tokenizer_json.ts";

/** The tokens with a role, as strings. */
export interface SpecialTokens {
  /** Ends every document and every response. */
  readonly eos: string;
  /** Fills up a batch. Never the same token as `eos`: a model that ignores padding would never learn to stop. */
  readonly pad: string;
  /** Starts a sequence, in vocabularies that have such a token. */
  readonly bos?: string;
  /** Stands for a hidden token in masked-language modelling. */
  readonly mask?: string;
}

export const defaultSpecialTokens: SpecialTokens = { eos: "<|endoftext|>", pad: "<|pad|>" };

/**
 * The tokenizer with further special tokens behind its vocabulary; tokens that it already has are left as they are.
 * The model's embedding must have room for the new ids.
 */
export function addSpecialTokens(json: TokenizerJson, tokens: ReadonlyArray<string>): TokenizerJson {
  const ids = new Map(Object.entries(json.model.vocab));
  for (const token of json.added_tokens) ids.set(token.content, token.id);
  let next = 0;
  for (const id of ids.values()) next = Math.max(next, id + 1);
  const added = [...new Set(tokens)]
    .filter((token) => !ids.has(token))
    .map((token, i) => specialToken(next + i, token));
  return { ...json, added_tokens: [...json.added_tokens, ...added] };
}

/** An entry of `added_tokens` that is matched as it stands and left out by `skipSpecial`. */
export function specialToken(id: number, content: string): AddedToken {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}
