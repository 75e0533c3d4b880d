import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { InvalidInput } from "@rlhf/core/errors";
import { fold, integers, key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LoadOptions, loadTokenizer, tokenizerFromJson } from "./load.ts";
import { addSpecialTokens } from "./special_tokens.ts";
import type { TokenizerJson } from "./tokenizer_json.ts";
import { trainBpe } from "./train.ts";

const json = trainBpe(["the cat sat on the mat, the dog sat on the cat 日本語 日本 👩‍👩‍👧 👩"], {
  vocabSize: 290,
});
const tokenizer = tokenizerFromJson(json);

/** Texts of code points drawn from the places where tokenizers break. */
function randomTexts(count: number): Array<string> {
  const ranges: ReadonlyArray<readonly [number, number]> = [
    [0x00, 0x20],
    [0x20, 0x7f],
    [0x7f, 0x180],
    [0x300, 0x370], // combining marks
    [0x600, 0x700],
    [0x2000, 0x2070], // spaces, joiners, direction marks
    [0x3040, 0x30ff],
    [0x4e00, 0x9fff],
    [0xfe00, 0xfe10],
    [0xfff0, 0xfffe],
    [0x1f300, 0x1faff],
    [0xe0000, 0xe007f],
  ];
  return Array.from({ length: count }, (_, i) => {
    const draws = integers(fold(key(11), i), 3 * 40, 2 ** 31);
    const length = draws[0]! % 40;
    return String.fromCodePoint(
      ...Array.from({ length }, (_, j) => {
        const [low, high] = ranges[draws[3 * j + 1]! % ranges.length]!;
        return low + (draws[3 * j + 2]! % (high - low));
      }),
    );
  });
}

const texts = [
  "",
  " ",
  "the cat",
  "  \n\t two  \r\n",
  "日本語 のテキスト",
  "👩‍👩‍👧👍🏽🇫🇷 ❤️",
  "e\u0301 \u0000\u0007\u001b[0m \ufeff\u0085\u2028",
  "\ufeffstarts with a byte order mark",
  "a<|endoftext|>b<|pad|><|endoftext|><|endoftext",
  "\uffff\u{10ffff}",
  ...randomTexts(300),
];

describe("properties", () => {
  it("decode ∘ encode = identity", () => {
    for (const text of texts) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("every path through the library gives the ids of the fast path", () => {
    // A normalizer that changes nothing turns the fast path off.
    const normalizer = { type: "Replace", pattern: { String: "\u{f0000}" }, content: "" };
    const slow = tokenizerFromJson({ ...json, normalizer });
    const same = texts.filter((text) => !/[\u0085\ufeff]/.test(text)); // where the library's \s differs
    for (const text of same) expect(slow.encode(text)).toEqual(tokenizer.encode(text));
  });
});

it("knows its special tokens", () => {
  expect(tokenizer.specials).toEqual({ eos: 0, pad: 1 });
  expect(tokenizer.vocabSize).toBe(290);
  expect(tokenizer.decode([0, ...tokenizer.encode("cat"), 0, 1], { skipSpecial: true })).toBe("cat");
  expect(tokenizer.idToToken(0)).toBe("<|endoftext|>");
  expect(tokenizer.idToToken(290)).toBeUndefined();
  expect(JSON.parse(JSON.stringify(tokenizer))).toEqual(JSON.parse(JSON.stringify(json)));
});

it("adds special tokens behind the vocabulary", () => {
  const grown = addSpecialTokens(json, ["<|mask|>", "<|pad|>", "<|mask|>"]);
  expect(tokenizerFromJson(grown).specials).toEqual({ eos: 0, pad: 1, mask: 290 });
  expect(tokenizerFromJson(grown).vocabSize).toBe(291);
});

it("gives padding a token of its own where it is asked to, and where there is none", () => {
  const isPad = ({ content }: { readonly content: string }) => content === "<|pad|>";
  const { "<|pad|>": _, ...vocab } = json.model.vocab;
  const bare = {
    ...json,
    added_tokens: json.added_tokens.filter((token) => !isPad(token)),
    model: { ...json.model, vocab },
  };
  expect(() => tokenizerFromJson(bare)).toThrow("no pad token");
  expect(tokenizerFromJson(bare, { addPad: true }).specials).toEqual({ eos: 0, pad: 290 });
  const eosForPad = { specialTokens: { pad: "<|endoftext|>" }, addPad: true };
  expect(tokenizerFromJson(bare, eosForPad).specials).toEqual({ eos: 0, pad: 290 });
  expect(tokenizerFromJson(json, { addPad: true }).toJSON()).toBe(json);
  const stored = tokenizerFromJson(tokenizerFromJson(bare, { addPad: true }).toJSON());
  expect(stored.specials).toEqual({ eos: 0, pad: 290 });
});

it("decodes no id outside the vocabulary", () => {
  expect(() => tokenizer.decode([5, 290])).toThrow(
    "Cannot decode: ids must be in the vocabulary of 290 tokens, got 290",
  );
});

describe("refuses, naming every problem", () => {
  const problemsOf = (value: unknown, options: LoadOptions = {}) => {
    try {
      tokenizerFromJson(value, options);
    } catch (error) {
      if (error instanceof InvalidInput) return error.problems.map((p) => p.problem);
      throw error;
    }
    return [];
  };
  const withModel = (model: object): unknown => ({ ...json, model: { ...json.model, ...model } });
  const without = (...contents: Array<string>): TokenizerJson => ({
    ...json,
    added_tokens: json.added_tokens.filter((token) => !contents.includes(token.content)),
    model: {
      ...json.model,
      vocab: Object.fromEntries(
        Object.entries(json.model.vocab).filter(([token]) => !contents.includes(token)),
      ),
    },
  });

  it.each([
    ["no object", [], ["the file: expected a JSON object, found []"]],
    ["no model", { ...json, model: undefined }, ["model: expected an object with a type, found nothing"]],
    [
      "an unknown model",
      withModel({ type: "Magic" }),
      ['model.type: expected BPE or WordPiece, found "Magic"'],
    ],
    [
      "a bad id and a bad merge",
      withModel({
        vocab: { ...json.model.vocab, odd: -1 },
        merges: [json.model.merges[0], ["zz", "h"]],
      }),
      [
        'model.vocab["odd"]: expected an id of 0 or more, found -1',
        'model.merges[1]: expected two tokens that join to one, found ["zz","h"]',
      ],
    ],
    [
      "two tokens of one id",
      withModel({ vocab: { ...json.model.vocab, odd: 5 } }),
      ['model.vocab["odd"]: expected an id other than that of "$", found 5'],
    ],
    [
      "an unknown decoder",
      { ...json, decoder: { type: "Odd" } },
      [expect.stringContaining("cannot be used: ")],
    ],
  ])("%s", (_, value, problems) => expect(problemsOf(value)).toEqual(problems));

  it("missing roles", () => {
    expect(problemsOf(without("<|pad|>", "<|endoftext|>"))).toEqual([
      expect.stringMatching(/^no eos token/),
      expect.stringMatching(/^no pad token/),
    ]);
    expect(problemsOf(json, { specialTokens: { mask: "<m>" } })).toEqual([
      'the mask token "<m>" is not in the vocabulary',
    ]);
  });

  it("PAD = EOS", () => {
    expect(problemsOf(json, { specialTokens: { pad: "<|endoftext|>" } })).toEqual([
      "the pad token is the eos token",
    ]);
  });
});

it("answers every damaged file with a tokenizer or InvalidInput", () => {
  const whole = JSON.stringify(addSpecialTokens(json, ["<|mask|>"]));
  const odd = [
    undefined,
    null,
    true,
    -1,
    0.5,
    1e99,
    4,
    "",
    "the",
    "\u0000",
    [],
    {},
    ["a", "b"],
    { type: "BPE" },
  ];
  for (let i = 0; i < 1000; i++) {
    const value = JSON.parse(whole);
    const draws = integers(fold(key(12), i), 60, 2 ** 30);
    for (let change = 0; change <= i % 4; change++) {
      let at = value;
      for (let depth = 0; depth < 5; depth++) {
        const fields = Object.keys(at);
        const field = fields[draws[10 * change + depth]! % fields.length]!;
        const inner = at[field];
        if (
          typeof inner === "object" &&
          inner !== null &&
          Object.keys(inner).length > 0 &&
          depth < (i + change) % 5
        ) {
          at = inner;
          continue;
        }
        at[field] = odd[draws[10 * change + 9]! % odd.length];
        break;
      }
    }
    try {
      tokenizerFromJson(value).encode("the cat");
    } catch (error) {
      expect(error, JSON.stringify(value).slice(0, 300)).toBeInstanceOf(InvalidInput);
    }
  }
  for (const part of ["version", "added_tokens", "normalizer", "pre_tokenizer", "decoder", "model"]) {
    for (const odd of [
      undefined,
      null,
      3,
      "x",
      [],
      {},
      { type: "Odd" },
      { type: "BPE", vocab: { a: 0 }, merges: [] },
    ]) {
      try {
        tokenizerFromJson({ ...json, [part]: odd }).encode("the cat");
      } catch (error) {
        expect(error, `${part}: ${JSON.stringify(odd)}`).toBeInstanceOf(InvalidInput);
      }
    }
  }
});

describe("loadTokenizer", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "rlhf-tokenizer-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const load = (path: string, options: LoadOptions = {}) =>
    Effect.runPromise(
      loadTokenizer(path, options).pipe(Effect.provide([NodeFileSystem.layer, NodePath.layer])),
    );
  const write = (name: string, value: unknown) =>
    writeFile(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));

  it("reads a file or the folder around it, with the roles that tokenizer_config.json names", async () => {
    await write("tokenizer.json", addSpecialTokens(json, ["[END]"]));
    expect((await load(join(folder, "tokenizer.json"))).specials).toEqual({ eos: 0, pad: 1 });
    await write("tokenizer_config.json", { eos_token: { content: "[END]" }, pad_token: null });
    expect((await load(folder)).specials).toEqual({ eos: 290, pad: 1 });
    await write("tokenizer_config.json", { eos_token: "<|endoftext|>", pad_token: "<|endoftext|>" });
    await expect(load(folder)).rejects.toThrow(/tokenizer\.json: the pad token is the eos token/);
    expect((await load(folder, { specialTokens: { pad: "<|pad|>" } })).specials).toEqual({ eos: 0, pad: 1 });
  });

  it("reads GPT-2's vocab.json and merges.txt", async () => {
    const older = join(folder, "older");
    await mkdir(older);
    const lines = json.model.merges.map((merge) => (merge as ReadonlyArray<string>).join(" "));
    await writeFile(join(older, "vocab.json"), JSON.stringify(json.model.vocab));
    await writeFile(join(older, "merges.txt"), ["#version: 0.2", ...lines, ""].join("\n"));
    const loaded = await load(older);
    expect(loaded.specials).toEqual({ eos: 0, pad: 1 });
    for (const text of texts) expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
    await rm(join(older, "merges.txt"));
    await expect(load(older)).rejects.toThrow(/merges\.txt: cannot be read/);
  });

  it("names a file that is missing or broken", async () => {
    await expect(load(join(folder, "absent.json"))).rejects.toThrow(
      /absent\.json: cannot be read \(NotFound\)/,
    );
    await write("broken.json", '{"version": ');
    await expect(load(join(folder, "broken.json"))).rejects.toThrow(/broken\.json: is not JSON/);
  });
});
