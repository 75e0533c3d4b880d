import { fold, integers, key } from "@rlhf/core/random";
import { expect, it } from "vitest";
import { tokenizerFromJson } from "./load.ts";
import { createStreamDecoder } from "./stream_decoder.ts";
import { trainBpe } from "./train.ts";

const tokenizer = tokenizerFromJson(trainBpe(["the cat sat on the mat 日本語 👩‍👩‍👧"], { vocabSize: 275 }));
const stream = (ids: ReadonlyArray<number>) => {
  const decoder = createStreamDecoder(tokenizer);
  return [...ids.map((id) => decoder.push(id)), decoder.end()];
};

it("holds back an incomplete character", () => {
  expect(stream(tokenizer.encode("aß"))).toEqual(["a", "", "ß", ""]);
  expect(stream(tokenizer.encode("aß").slice(0, 2))).toEqual(["a", "", "\ufffd"]);
});

it("gives no text for special tokens", () => {
  const { eos, pad } = tokenizer.specials;
  expect(stream([...tokenizer.encode("a"), eos, pad]).join("")).toBe("a");
});

it("joins to what decode gives, for texts", () => {
  for (const text of ["", "the cat", "日本語 のテキスト", "👩‍👩‍👧👍🏽🇫🇷 ❤️", "e\u0301 \u0000 \ufffd \ufeff"]) {
    expect(stream(tokenizer.encode(text)).join("")).toBe(text);
  }
});

it("joins to what decode gives, for any tokens", () => {
  for (let i = 0; i < 200; i++) {
    const ids = Array.from(integers(fold(key(12), i), 30, tokenizer.vocabSize - 2), (id) => id + 2);
    expect(stream(ids).join("")).toBe(tokenizer.decode(ids));
  }
});
