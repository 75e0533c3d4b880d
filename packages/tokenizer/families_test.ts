import { readFileSync } from "node:fs";
import { differences, expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "./load.ts";
import { tokenOffsets } from "./offsets.ts";

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

describe.each(["gpt2", "llama3", "qwen2", "llama2", "bert", "bert_cased"])("%s", (name) => {
  const golden = read(name);
  const tokenizer = tokenizerFromJson(golden.tokenizer);
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
  it.each(golden.cases)("decodes to the reference's text: $text", ({ ids, decoded }) => {
    expect(tokenizer.decode(ids)).toBe(decoded);
  });
});
