import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import type { Finding } from "./finding.ts";

/**
 * Whether end-of-sequence and padding are what training takes them for: two tokens, within the vocabulary, and never
 * inside a text; and whether texts come back from the tokenizer as they went in.
 */
export function specialTokens(model: Model, tokenizer: Tokenizer, texts: ReadonlyArray<string>): Finding {
  const { eos, pad } = tokenizer.specials;
  const { vocabSize } = model.config;
  const encoded = texts.map(tokenizer.encode);
  const cut = encoded.filter((tokens) => tokens.includes(eos) || tokens.includes(pad)).length;
  const changed = encoded.filter((tokens, i) => tokenizer.decode(tokens) !== texts[i]).length;
  const problems = [
    ...(eos === pad ? [`both are token ${eos}`] : []),
    ...(Math.max(eos, pad) < vocabSize ? [] : [`the model has ${vocabSize} embeddings only`]),
    ...(cut === 0 ? [] : [`${cut} of ${texts.length} texts hold one of them`]),
    ...(changed === 0 ? [] : [`${changed} of ${texts.length} texts do not survive encoding`]),
  ];
  const named = `end-of-sequence is ${describe(tokenizer, eos)}, padding ${describe(tokenizer, pad)}`;
  return {
    check: "special tokens",
    passed: problems.length === 0,
    found: [named, ...problems].join("; "),
    remedy: "name the roles in tokenizer_config.json, and take special tokens out of the texts",
  };
}

function describe(tokenizer: Tokenizer, id: number): string {
  return `${tokenizer.idToToken(id) ?? "unknown"} (${id})`;
}
