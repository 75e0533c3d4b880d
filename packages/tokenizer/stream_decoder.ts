import type { Tokenizer } from "./tokenizer.ts";

export interface StreamDecoder {
  /** The text that became certain with this token: "" while a character is incomplete. */
  readonly push: (id: number) => string;
  /** What is left; an incomplete character becomes U+FFFD. */
  readonly end: () => string;
}

/**
 * Decodes tokens as they are generated. A character whose bytes are spread over tokens is held back until it is
 * whole, so the pieces joined are what `decode` gives for all tokens together. Special tokens give no text.
 */
export function createStreamDecoder(tokenizer: Tokenizer): StreamDecoder {
  const decode = (ids: ReadonlyArray<number>) => tokenizer.decode(ids, { skipSpecial: true });
  // Some tokenizers drop a space at the start of a text, so pieces are decoded behind those that went before.
  let given: ReadonlyArray<number> = [];
  let pending: ReadonlyArray<number> = [];
  const flush = () => {
    const text = decode([...given, ...pending]).slice(decode(given).length);
    given = pending;
    pending = [];
    return text;
  };
  return {
    push: (id) => {
      pending = [...pending, id];
      return decode(pending).endsWith("\uFFFD") ? "" : flush();
    },
    end: flush,
  };
}
