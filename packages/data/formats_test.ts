import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kind } from "./format.ts";
import parquet from "./golden/parquet.json" with { type: "json" };
import { type ReadOptions, readData } from "./read.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-formats-"));
});
afterAll(() => rm(folder, { recursive: true }));

let written = 0;
const put = async (content: string | Uint8Array, ending = "jsonl") => {
  const file = join(folder, `${written++}.${ending}`);
  await writeFile(file, content);
  return file;
};
const lines = (...rows: ReadonlyArray<unknown>) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const read = <K extends Kind>(file: string, kind: K, options?: ReadOptions) =>
  Effect.runPromise(readData(file, kind, options));
const problems = async (file: string, kind: Kind, options?: ReadOptions) => {
  const error = await Effect.runPromise(Effect.flip(readData(file, kind, options)));
  return error.problems.map(({ where, problem }) => `${where.slice(file.length)}: ${problem}`);
};

const user = { role: "user", content: "Say hi" };
const says = (content: string) => ({ role: "assistant", content });
const sharegpt = { from: "human", value: "Say hi" };
const transcript = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";

describe("formats", () => {
  const best = { prompt: "Say hi", responses: ["hi", "no"], ranks: [1, 2] };
  const four = { ...best, responses: ["a", "b", "c", "d"], ranks: [2, 2, 1, 2] };
  const reply = (text: string, rank?: number, replies: ReadonlyArray<unknown> = []) => ({
    ...(rank === undefined ? {} : { rank }),
    text,
    role: "assistant",
    replies,
  });

  it.each<[string, Kind, unknown, ReadonlyArray<unknown>]>([
    ["pairs", "rankings", { prompt: "Say hi", chosen: "hi", rejected: "no" }, [best]],
    [
      "pairs",
      "rankings",
      { prompt: "Say hi", chosen: [user, says("hi")], rejected: [user, says("no")] },
      [best],
    ],
    ["pairs", "rankings", { prompt: [user], chosen: [says("hi")], rejected: [says("no")] }, [best]],
    ["chat-pairs", "rankings", { chosen: [user, says("hi")], rejected: [user, says("no")] }, [best]],
    [
      "sharegpt-pairs",
      "rankings",
      {
        conversations: [sharegpt],
        chosen: { from: "gpt", value: "hi" },
        rejected: { from: "gpt", value: "no" },
      },
      [best],
    ],
    [
      "openai-preferences",
      "rankings",
      { input: { messages: [user] }, preferred_output: [says("hi")], non_preferred_output: [says("no")] },
      [best],
    ],
    [
      "alpaca-eval",
      "rankings",
      { instruction: "Say hi", output_1: "no", output_2: "hi", preference: 2, annotator: "gpt4" },
      [{ ...best, responses: ["no", "hi"], ranks: [2, 1], labeler: "gpt4" }],
    ],
    [
      "alpaca-eval",
      "rankings",
      { instruction: "Say hi", output_1: "no", output_2: "hi", preference: 0 },
      [{ ...best, responses: ["no", "hi"], ranks: [1, 1] }],
    ],
    [
      "tldr",
      "rankings",
      {
        info: { subreddit: "pets", title: "Cat", post: "Long." },
        summaries: [{ text: " one" }, { text: " two" }],
        choice: 1,
        worker: "w",
      },
      [
        {
          prompt: "SUBREDDIT: r/pets\n\nTITLE: Cat\n\nPOST: Long.\n\nTL;DR:",
          responses: [" one", " two"],
          ranks: [2, 1],
          labeler: "w",
        },
      ],
    ],
    [
      "lm-human-preferences",
      "rankings",
      { query: "Say hi", sample0: "a", sample1: "b", sample2: "c", sample3: "d", best: 2 },
      [four],
    ],
    ["scores", "rankings", { prompt: "Say hi", responses: ["hi", "no"], scores: [0.5, -1] }, [best]],
    [
      "ultrafeedback",
      "rankings",
      {
        instruction: "Say hi",
        completions: [
          { response: "hi", overall_score: 9 },
          { response: "no", overall_score: 9 },
        ],
      },
      [{ ...best, ranks: [1, 1] }],
    ],
    [
      "oasst-trees",
      "rankings",
      {
        message_tree_id: "t",
        prompt: {
          text: "Say hi",
          role: "prompter",
          replies: [
            reply("no", 1),
            reply("hi", 0, [{ text: "More", role: "prompter", replies: [reply("ok")] }]),
          ],
        },
      },
      [{ ...best, responses: ["no", "hi"], ranks: [2, 1] }],
    ],
    [
      "hh-rlhf",
      "rankings",
      { chosen: `${transcript} yes`, rejected: `${transcript} no` },
      [{ prompt: transcript, responses: [" yes", " no"], ranks: [1, 2] }],
    ],
    [
      "kto",
      "labels",
      { messages: [user, says("hi")], label: true },
      [{ prompt: "Say hi", response: "hi", desirable: true }],
    ],
    [
      "kto",
      "labels",
      { prompt: "Say hi", completion: "no", label: false },
      [{ prompt: "Say hi", response: "no", desirable: false }],
    ],
  ])("%s as %s", async (format, kind, row, expected) => {
    const { records, files } = await read(await put(lines(row)), kind);
    expect(files[0]!.format).toBe(format);
    expect(records).toEqual(expected);
  });

  it("makes every turn of the assistant a demonstration, after all that was said before", async () => {
    const file = await put(
      lines({ messages: [{ role: "system", content: "Be brief." }, user, says("hi"), user, says("again")] }),
    );
    expect((await read(file, "demonstrations")).records).toEqual([
      { prompt: "\n\nSystem: Be brief.\n\nHuman: Say hi\n\nAssistant:", response: " hi" },
      {
        prompt: "\n\nSystem: Be brief.\n\nHuman: Say hi\n\nAssistant: hi\n\nHuman: Say hi\n\nAssistant:",
        response: " again",
      },
    ]);
    const rendering = { prompt: () => "<prompt>", response: () => "<response>" };
    const templated = await read(file, "demonstrations", { rendering });
    expect(templated.records[0]).toEqual({ prompt: "<prompt>", response: "<response>" });
  });

  it("passes calls of tools through", async () => {
    const call = { id: "1", type: "function", function: { name: "add", arguments: "{}" } };
    const messages = [
      user,
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", content: "3", tool_call_id: "1" },
    ];
    const tools = [{ type: "function" }];
    const openAi = await read(await put(lines({ messages, tools })), "conversations");
    expect(openAi.records).toEqual([
      { messages: [messages[0], { ...messages[1], content: "" }, messages[2]], tools },
    ]);
    const glaive = {
      conversations: [
        sharegpt,
        { from: "function_call", value: '{"name":"add"}' },
        { from: "observation", value: "3" },
      ],
      tools: JSON.stringify(tools),
    };
    const shared = await read(await put(lines(glaive)), "conversations");
    expect(shared.records).toEqual([
      {
        messages: [
          user,
          { role: "assistant", content: "", tool_calls: [{ name: "add" }] },
          { role: "tool", content: "3" },
        ],
        tools,
      },
    ]);
  });

  it("assembles OASST messages and scored answers from rows that follow each other", async () => {
    const message = (id: string, parent: string | null, text: string, rank: number | null, tree = "t") => ({
      ...{ message_id: id, parent_id: parent, message_tree_id: tree, text, rank },
      role: parent === null ? "prompter" : "assistant",
    });
    const tree = await put(
      lines(
        message("1", null, "Say hi", null),
        message("2", "1", "hi", 0),
        message("3", "1", "no", 1),
        message("4", null, "Alone", null, "u"),
      ),
    );
    expect((await read(tree, "rankings")).records).toEqual([best]);
    expect((await read(tree, "demonstrations")).records).toEqual([{ prompt: "Say hi", response: "hi" }]);
    const scores = await put(
      lines(
        { prompt: "Say hi", response: "hi", score: 2 },
        { prompt: "Say hi", response: "no", score: 1 },
        { prompt: "b", response: "c", score: 1 },
      ),
    );
    const { records, files } = await read(scores, "rankings", { badShare: 0.5 });
    expect(records).toEqual([best]);
    expect(files[0]!.problems[0]!.problem).toBe("expected two rows or more of this prompt, found one");
  });

  it("decodes the tokens of lm-human-preferences, or says that it cannot", async () => {
    const file = await put(lines({ query: [1], sample0: [2], sample1: [3], best: 1 }));
    const { records } = await read(file, "rankings", { decode: (tokens) => `t${tokens}` });
    expect(records).toEqual([{ prompt: "t1", responses: ["t2", "t3"], ranks: [2, 1] }]);
    expect((await problems(file, "rankings"))[0]).toBe(
      ":1: sample0: expected text, or a tokenizer that these tokens are of, found [2]",
    );
  });

  it("counts pairs that part before the last turn and empty replies, and keeps or drops them", async () => {
    const start = "\n\nHuman: a\n\nAssistant:";
    const file = await put(
      lines(
        { chosen: `${start} b\n\nHuman: c\n\nAssistant: d`, rejected: `${start} e` },
        { chosen: `${start} b`, rejected: start },
        { chosen: `${start} b`, rejected: `${start} c` },
      ),
    );
    const kept = await read(file, "rankings");
    expect(kept.records.length).toBe(3);
    expect(kept.files[0]).toMatchObject({ diverging: 1, withEmptyResponse: 1, dropped: 0 });
    const dropped = await read(file, "rankings", { diverging: "drop", emptyResponses: "drop" });
    expect(dropped.records.length).toBe(1);
    expect(dropped.files[0]).toMatchObject({ diverging: 1, withEmptyResponse: 1, dropped: 2 });
  });

  it("takes a format by name and fields from where they are said to be", async () => {
    const row = { question: "Say hi", answers: { best: "hi" }, instruction: "x", output: "y" };
    const file = await put(lines(row));
    const fields = { prompt: "question", response: "answers.best" };
    expect((await read(file, "demonstrations", { fields })).records).toEqual([
      { prompt: "Say hi", response: "hi" },
    ]);
    expect((await read(file, "demonstrations", { fields, format: "alpaca" })).records).toEqual([
      { prompt: "x", response: "y" },
    ]);
    expect((await problems(file, "demonstrations", { format: "alpacca" }))[0]).toBe(
      ": there is no format alpacca",
    );
    expect((await problems(file, "rankings"))[0]).toBe(
      ": expected rankings, found the format alpaca, which has demonstrations",
    );
  });
});

describe("tables", () => {
  it.each([
    ["quotes, separators and line breaks inside fields", 'prompt,response\n"Say ""hi"",\nplease",hi\n'],
    ["a byte order mark and CRLF", '\ufeffprompt,response\r\n"Say ""hi"",\nplease",hi\r\n'],
    ["a column without a name", ',prompt,response\n0,"Say ""hi"",\nplease",hi\n'],
    ["semicolons", 'prompt;response\n"Say ""hi"",\nplease";hi\n'],
  ])("CSV with %s", async (_, text) => {
    const expected = [{ prompt: 'Say "hi",\nplease', response: "hi" }];
    expect((await read(await put(text, "csv"), "demonstrations")).records).toEqual(expected);
    expect((await read(await put(gzipSync(text), "csv.gz"), "demonstrations")).records).toEqual(expected);
  });

  it("TSV without names, whose quotes are characters", async () => {
    const file = await put('a "quoted word\t1\nb\t0\n', "tsv");
    const fields = { text: "column1" };
    expect((await read(file, "texts", { fields })).records).toEqual(['a "quoted word', "b"]);
  });

  it("reads numbers and lists from cells", async () => {
    const file = await put('prompt,responses,ranks\np,"[""a"",""b""]","[2,1]"\n', "csv");
    expect((await read(file, "rankings")).records).toEqual([
      { prompt: "p", responses: ["a", "b"], ranks: [2, 1] },
    ]);
  });

  it("names the line of a row that has another number of columns, is not UTF-8, or lacks a value", async () => {
    const bytes = Buffer.concat([
      Buffer.from('prompt,response\n"a\nb",c\nd\ne,'),
      Buffer.from([0xe9]),
      Buffer.from("\n,f\n"),
    ]);
    expect(await problems(await put(bytes, "csv"), "demonstrations")).toEqual([
      ":4: expected 2 columns, found 1",
      ":5: response: expected UTF-8 text, found other bytes",
      ':6: prompt: expected text that is not empty, found ""',
    ]);
    expect((await problems(await put('prompt,response\na,"b\n', "csv"), "demonstrations"))[0]).toContain(
      "line 2: ",
    );
  });
});

describe("Parquet", () => {
  it.each(Object.entries(parquet.files))("with %s, flat and nested", async (_, base64) => {
    const file = await put(Buffer.from(base64, "base64"), "parquet");
    const { records, files } = await read(file, "demonstrations", { format: "messages" });
    expect(records).toEqual([
      { prompt: "Say hi", response: "hi 👋" },
      { prompt: "Say hi", response: "hi 👋" },
    ]);
    expect(files[0]!.container).toBe("Parquet");
    expect(await problems(file, "texts", { fields: { text: "prompt" } })).toEqual([
      ":2: text: expected text, found nothing",
    ]);
  });

  it("that is cut short or corrupt is refused", async () => {
    const bytes = Buffer.from(parquet.files.snappy, "base64");
    expect((await problems(await put(bytes.subarray(0, 500), "parquet"), "texts"))[0]).toBe(
      ": the Parquet file is cut short: its end is missing",
    );
    const corrupt = Buffer.from(bytes).fill(0xff, bytes.length - 100, bytes.length - 8);
    expect((await problems(await put(corrupt, "parquet"), "texts"))[0]).toContain(
      ": the Parquet file cannot be read: ",
    );
  });
});

describe("broken files", () => {
  const good = { prompt: "p", response: "r" };

  it.each([
    [
      "lone surrogates",
      '{"prompt": "\\ud800", "response": "r"}',
      ":1: prompt: expected well-formed Unicode, found half of a surrogate pair",
    ],
    [
      "null characters",
      '{"prompt": "a\\u0000", "response": "r"}',
      ":1: prompt: expected text, found a null character",
    ],
    [
      "a field twice",
      '{"prompt": "a:\\": b", "response": "r", "prompt" : "c"}',
      ":1: prompt: expected each field once, found it twice",
    ],
    ["a number in place of text", '{"prompt": 5, "response": "r"}', ":1: prompt: expected text, found 5"],
  ])("%s", async (_, row, problem) => {
    expect(await problems(await put(row), "demonstrations")).toEqual([problem]);
  });

  it("null bytes and invalid UTF-8 spoil their line alone", async () => {
    const bytes = Buffer.concat([
      Buffer.from(lines(good)),
      Buffer.from('{"prompt":"\0"}\n'),
      Buffer.from([0x22, 0xe9, 0x22, 0x0a]),
      Buffer.from(lines(good)),
    ]);
    const { records, files } = await read(await put(bytes), "demonstrations", { badShare: 0.5 });
    expect(records.length).toBe(2);
    expect(files[0]!.problems.map(({ problem }) => problem)).toEqual([
      expect.stringContaining("not JSON: "),
      "expected UTF-8 text, found other bytes",
    ]);
  });

  it("a text that looks like a repeated field is none", async () => {
    const file = await put(
      lines({ prompt: '":": "', response: ':"prompt":' }, { prompt: "p", response: [":"].join() }),
    );
    expect((await read(file, "demonstrations")).records.length).toBe(2);
  });

  it("numbers as text are refused in JSON", async () => {
    const file = await put(lines({ prompt: "p", responses: ["a", "b"], ranks: ["1", "2"] }));
    expect(await problems(file, "rankings")).toEqual([
      ':1: ranks[0]: expected an integer, found "1"',
      ':1: ranks[1]: expected an integer, found "2"',
    ]);
  });

  it("a line of 100 MB is skipped with its number", async () => {
    const line = Buffer.alloc(100 * 2 ** 20, "a");
    const file = await put(Buffer.concat([Buffer.from(lines(good)), line, Buffer.from(`\n${lines(good)}`)]));
    const { records, files } = await read(file, "demonstrations", { badShare: 0.5 });
    expect(records.length).toBe(2);
    expect(files[0]!.problems).toMatchObject([
      { problem: "expected a row of at most 32 MiB, found 100 MiB" },
    ]);
    expect(files[0]!.problems[0]!.where).toBe(`${file}:2`);
  });

  it("a gzip bomb is refused long before it is unpacked", async () => {
    const packed = gzipSync(Buffer.alloc(2 ** 28));
    const file = await put(packed, "jsonl.gz");
    expect(await problems(file, "demonstrations")).toContain(
      ": the gzip file unpacks to more than 300 times its size, as no text does",
    );
  });

  it("a gzip file that is cut short says so, after the rows before", async () => {
    const packed = gzipSync(
      lines(...Array.from({ length: 5000 }, (_, i) => ({ prompt: `p${i * 7919}`, response: "r" }))),
    );
    const file = await put(packed.subarray(0, packed.length - 20), "jsonl.gz");
    expect((await problems(file, "demonstrations", { badShare: 0.9 }))[0]).toContain(
      ": the gzip file cannot be unpacked: unexpected end of file",
    );
  });

  it("bad rows are left out up to the chosen share", async () => {
    const file = await put(lines(good, good, good, {}));
    const { records, files } = await read(file, "demonstrations", { badShare: 0.25 });
    expect(records.length).toBe(3);
    expect(files[0]).toMatchObject({ rows: 4, badRows: 1 });
    const refused = await problems(file, "demonstrations", { badShare: 0.2 });
    expect(refused.at(-1)).toBe(": 1 of 4 rows are bad (25.0 %), at most 20 % are allowed");
    expect(refused.length).toBe(3);
  });
});
