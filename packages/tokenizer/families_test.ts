import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { differences, expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "./load.ts";
import { tokenOffsets } from "./offsets.ts";
import { addSpecialTokens } from "./special_tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";

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

describe.each(["gpt2", "llama2", "llama3", "qwen3"])("published %s", (name) => {
  const golden: Published = JSON.parse(
    readFileSync(new URL(`golden/published_${name}.json`, import.meta.url), "utf8"),
  );
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
