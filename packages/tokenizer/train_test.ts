import { readFileSync } from "node:fs";
import { differences, expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "./load.ts";
import { trainBpe } from "./train.ts";

/** From Hugging Face's tokenizers: bench/references/tokenizer_bpe.py. */
const golden: {
  readonly source: GoldenSource;
  readonly shell: object;
  readonly vocab: Record<string, number>;
  readonly cases: ReadonlyArray<{
    texts: Array<string>;
    vocabSize: number;
    tokens: number;
    merges: Array<string>;
  }>;
  readonly probes: ReadonlyArray<{ text: string; ids: Array<number> }>;
} = JSON.parse(readFileSync(new URL("golden/bpe.json", import.meta.url), "utf8"));
const check = (what: string, found: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>) => {
  expect(found).toEqual(expected);
  const error = differences(found, expected);
  expectFidelity({ formula: `trained BPE: ${what}`, source: golden.source, error, limit: 0 });
};
const prose = golden.cases[0]!;

describe("trainBpe equals the reference trainer", () => {
  it.each(golden.cases.map((example, i) => [i, example] as const))("in its merges, text %i", (_, example) => {
    const { model } = trainBpe(example.texts, { vocabSize: example.vocabSize });
    check(
      "merges",
      model.merges.map((merge) => (merge as ReadonlyArray<string>).join(" ")),
      example.merges,
    );
    expect(Object.keys(model.vocab).length).toBe(example.tokens);
  });

  it("in its vocabulary and in the rest of tokenizer.json", () => {
    const json = trainBpe(prose.texts, prose);
    const byToken = (vocab: Record<string, number>) =>
      Object.entries(vocab)
        .sort(([, a], [, b]) => a - b)
        .map(([token, id]) => `${id} ${token}`);
    check("vocabulary", byToken(json.model.vocab), byToken(golden.vocab));
    expect({ ...json, model: { ...json.model, vocab: {}, merges: [] } }).toEqual(golden.shell);
  });

  it.each(golden.probes)("in the ids of $text", ({ text, ids }) => {
    check("ids", tokenizerFromJson(trainBpe(prose.texts, prose)).encode(text), ids);
  });
});

it("reports the growing vocabulary and ends with its size", () => {
  const sizes: Array<number> = [];
  const json = trainBpe(prose.texts, { vocabSize: 400, onProgress: (tokens) => sizes.push(tokens) });
  expect(sizes).toEqual([320, 384, 400]);
  expect(Object.keys(json.model.vocab).length).toBe(400);
});

it("gives special tokens the first ids in the order eos, pad, bos, mask", () => {
  const specialTokens = { mask: "[MASK]", pad: "[PAD]", eos: "[END]" };
  const json = trainBpe(["a text"], { vocabSize: 259, specialTokens });
  expect(json.added_tokens.map((token) => token.content)).toEqual(["[END]", "[PAD]", "[MASK]"]);
  expect(tokenizerFromJson(json, { specialTokens }).specials).toEqual({ eos: 0, pad: 1, mask: 2 });
});

it("merges words that look like properties of every object", () => {
  const word = "__proto__ constructor ";
  const tokenizer = tokenizerFromJson(trainBpe([word.repeat(9)], { vocabSize: 300 }));
  expect(tokenizer.decode(tokenizer.encode(word))).toBe(word);
  expect(tokenizer.tokenToId("__")).toBeGreaterThan(257);
});

it("refuses a vocabulary without room for the bytes, and PAD = EOS", () => {
  expect(() => trainBpe([], { vocabSize: 257 })).toThrow(
    /vocabSize must be an integer of at least 258.*got 257/,
  );
  const specialTokens = { eos: "<|endoftext|>", pad: "<|endoftext|>" };
  expect(() => trainBpe([], { vocabSize: 300, specialTokens })).toThrow(/the pad token is the eos token/);
});
