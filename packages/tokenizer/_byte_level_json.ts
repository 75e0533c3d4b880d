import { specialToken } from "./special_tokens.ts";
import type { AddedToken, TokenizerJson } from "./tokenizer_json.ts";

/** GPT-2's pipeline around a vocabulary. */
export function byteLevelJson(
  addedTokens: ReadonlyArray<AddedToken>,
  vocab: Readonly<Record<string, number>>,
  merges: ReadonlyArray<readonly [string, string]>,
): TokenizerJson {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

/** The `tokenizer.json` of GPT-2's older files: `vocab.json` and the lines of `merges.txt`, most frequent first. */
export function gpt2Json(vocab: unknown, merges: string): unknown {
  const ids = Object.entries((vocab ?? {}) as Record<string, number>);
  const pairs = merges
    .split(/\r?\n/)
    .filter((line) => line !== "" && !line.startsWith("#version"))
    .map((line) => line.split(" ") as [string, string]);
  const added = ids
    .filter(([token]) => /^<\|.+\|>$/.test(token))
    .map(([token, id]) => specialToken(id, token));
  return byteLevelJson(added, vocab as Record<string, number>, pairs);
}
