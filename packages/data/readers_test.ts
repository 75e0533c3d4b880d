import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { InvalidInput } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCorpus } from "./read_corpus.ts";
import { readDemonstrations } from "./read_demonstrations.ts";
import { readRankings } from "./read_rankings.ts";

type Reading<A> = Effect.Effect<A, InvalidInput>;
const run = <A, E>(reading: Effect.Effect<A, E>) => Effect.runPromise(reading);
/** The problems as `file:line: problem`, with paths inside the test's folder. */
const problemsOf = async (reading: Reading<unknown>) => {
  const { problems } = await run(Effect.flip(reading));
  expect(problems.every(({ remedy }) => remedy !== "")).toBe(true);
  return problems.map(({ where, problem }) => `${where.replace(`${folder}/`, "")}: ${problem}`);
};

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-data-"));
});
afterEach(() => rm(folder, { recursive: true }));

const put = async (name: string, content: string | Uint8Array) => {
  const file = join(folder, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
};
const lines = (...rows: ReadonlyArray<unknown>) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

describe("readDemonstrations", () => {
  const expected = [{ prompt: "Say hi", response: "hi 👋" }];

  it.each([
    ["JSON lines", lines({ prompt: "Say hi", response: "hi 👋" })],
    ["JSON lines with blank lines and CRLF", `\r\n${lines({ prompt: "Say hi", response: "hi 👋" })}\r\n\n`],
    ["a JSON list", JSON.stringify(expected, null, 2)],
    ["a list behind a byte order mark", `\ufeff${JSON.stringify(expected)}`],
    ["other fields too", lines({ id: 3, prompt: "Say hi", response: "hi 👋" })],
    ["prompt and completion", lines({ prompt: "Say hi", completion: "hi 👋" })],
    ["Dolly", lines({ instruction: "Say hi", context: "", response: "hi 👋", category: "qa" })],
    [
      "OpenAI messages",
      lines({
        messages: [
          { role: "user", content: "Say hi" },
          { role: "assistant", content: "hi 👋" },
        ],
      }),
    ],
    [
      "ShareGPT",
      lines({
        conversations: [
          { from: "human", value: "Say hi" },
          { from: "gpt", value: "hi 👋" },
        ],
      }),
    ],
    ["Alpaca", lines({ instruction: "Say hi", input: "", output: "hi 👋" })],
    ["Alpaca without input", lines({ instruction: "Say hi", output: "hi 👋" })],
    ["seed tasks", lines({ instruction: "Say hi", instances: [{ input: "", output: "hi 👋" }] })],
  ])("reads %s", async (_, text) => {
    expect(await run(readDemonstrations(await put("data", text)))).toEqual(expected);
    expect(await run(readDemonstrations(await put("data", gzipSync(text))))).toEqual(expected);
  });

  it("puts Alpaca's input behind its instruction", async () => {
    const file = await put("a.json", JSON.stringify([{ instruction: "Add.", input: "1, 2", output: "3" }]));
    expect(await run(readDemonstrations(file))).toEqual([{ prompt: "Add.\n\n1, 2", response: "3" }]);
  });

  it("reads all files of a folder in order of their names, each in its format", async () => {
    await put("b/2.json", JSON.stringify([{ instruction: "2", output: "b" }]));
    await put("a.jsonl", lines({ prompt: "1", response: "a" }));
    await put(".hidden", "not data");
    expect((await run(readDemonstrations(folder))).map(({ prompt }) => prompt)).toEqual(["1", "2"]);
  });

  it("reports everything that is wrong, with its line", async () => {
    await put("1.jsonl", `${lines({ prompt: "p", response: "r" }, { prompt: 5 })}{"prompt": \n\n[1]\n`);
    await put(
      "2.json",
      `[\n  {"instruction": "i", "output": ""},\n  {"instruction": "]", "output": "\\"["},\n {"a" 1},\n 7\n]`,
    );
    await put("3.json", "");
    await put("4.jsonl", new Uint8Array([0x7b, 0x0a, 0xe9, 0x0a, 0x0a, 0xff]));
    await put("5.txt", new Uint8Array([0xff, 0xfe, 0x41, 0x00]));
    await put("6.txt", "prompt,response\na,b\n");
    await put("7.json", `${lines({ question: "q", answer: "a" }, { question: "r" })}{`);
    await put("8.gz", gzipSync("{}").subarray(0, 12));
    await put("9.json", '[{"prompt": "p", "response": "r"}');
    await put("91.json", "[]");
    await put("92.json", '[{"prompt": "p", "response": "r"},]\n[]');
    expect(await problemsOf(readDemonstrations(folder))).toEqual([
      "1.jsonl:2: prompt: expected text, found 5",
      "1.jsonl:2: response: expected text, found nothing",
      expect.stringMatching(/^1\.jsonl:3: not JSON: /),
      "1.jsonl:5: expected an object, found [1]",
      '2.json:2: output: expected text that is not empty, found ""',
      expect.stringMatching(/^2\.json:4: not JSON: /),
      "2.json:5: expected an object, found 7",
      "3.json: the file is empty",
      expect.stringMatching(/^4\.jsonl:1: not JSON: /),
      "4.jsonl:2: expected UTF-8 text, found other bytes",
      "4.jsonl:4: expected UTF-8 text, found other bytes",
      "5.txt: expected UTF-8 text, found UTF-16",
      '6.txt: expected rows of JSON, a table or Parquet, found "prompt,response"',
      "7.json:1: the format is not known: found the fields question, answer",
      expect.stringMatching(/^7\.json:3: not JSON: /),
      expect.stringMatching(/^8\.gz: the gzip file cannot be unpacked: /),
      "9.json:1: not JSON: the list is not closed: the file may be cut short",
      "91.json: the file has no rows",
      "92.json:1: not JSON: nothing stands between two commas",
      "92.json:2: not JSON: there is text behind the list",
    ]);
  });

  it("names a path that leads nowhere", async () => {
    expect(await problemsOf(readDemonstrations(join(folder, "absent.json")))).toEqual([
      "absent.json: there is no such file or folder",
    ]);
    await mkdir(join(folder, "empty"));
    expect(await problemsOf(readDemonstrations(join(folder, "empty")))).toEqual([
      "empty: the folder has no files",
    ]);
  });
});

describe("readRankings", () => {
  it("reads rankings of K responses with ties and labeler", async () => {
    const ranking = { prompt: "p", responses: ["a", "", "c"], ranks: [2, 1, 2], labeler: "ann" };
    expect(await run(readRankings(await put("r.jsonl", lines(ranking))))).toEqual([ranking]);
  });

  it("reads pairs", async () => {
    const file = await put("r.jsonl", lines({ prompt: "p", chosen: "good", rejected: "bad" }));
    expect(await run(readRankings(file))).toEqual([
      { prompt: "p", responses: ["good", "bad"], ranks: [1, 2] },
    ]);
  });

  it("cuts transcripts where the assistant's last shared turn begins", async () => {
    const start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";
    const file = await put(
      "hh.jsonl",
      lines(
        { chosen: `${start} yes`, rejected: `${start} no` },
        { chosen: `${start} yes\n\nHuman: d\n\nAssistant: e`, rejected: `${start} yes` },
      ),
    );
    expect(await run(readRankings(file))).toEqual([
      { prompt: start, responses: [" yes", " no"], ranks: [1, 2] },
      { prompt: start, responses: [" yes\n\nHuman: d\n\nAssistant: e", " yes"], ranks: [1, 2] },
    ]);
  });

  it("reports what is wrong with each field", async () => {
    await put(
      "1.jsonl",
      lines(
        { prompt: "p", responses: ["a"], ranks: [1] },
        { prompt: "p", responses: ["a", 2], ranks: [0, 1.5] },
      ),
    );
    await put("2.jsonl", lines({ prompt: "p", responses: ["a", "b"], ranks: [1] }));
    await put("3.jsonl", lines({ chosen: "Hi", rejected: "\n\nHuman: a\n\nAssistant: b" }));
    await put(
      "4.jsonl",
      lines({ chosen: "\n\nHuman: a\n\nAssistant: b", rejected: "\n\nHuman: b\n\nAssistant: c" }),
    );
    expect(await problemsOf(readRankings(folder))).toEqual([
      '1.jsonl:1: responses: expected two responses or more, found ["a"]',
      "1.jsonl:2: responses[1]: expected text, found 2",
      "1.jsonl:2: ranks[0]: expected a rank of 1 or more, where 1 is best, found 0",
      "1.jsonl:2: ranks[1]: expected an integer, found 1.5",
      "2.jsonl:1: ranks: expected one rank for each of the 2 responses, found [1]",
      '3.jsonl:1: chosen: expected a transcript with "\\n\\nHuman:" and "\\n\\nAssistant:", found "Hi"',
      '4.jsonl:1: rejected: expected the same first question as in chosen, found "\\n\\nHuman: b\\n\\nAssistant: c"',
    ]);
  });
});

describe("readCorpus", () => {
  it("takes a text file as one document and JSON rows as many", async () => {
    await put("1.txt", "[Verse]\n{ prose }");
    await put("2.jsonl", lines({ text: "one" }, { text: "two" }));
    expect(await run(readCorpus(folder))).toEqual(["[Verse]\n{ prose }", "one", "two"]);
  });

  it("reports broken files and rows", async () => {
    await put("1.txt", " \n");
    await put("2.jsonl", lines({ text: "one" }, { body: "two" }));
    expect(await problemsOf(readCorpus(folder))).toEqual([
      "1.txt: the file is empty",
      "2.jsonl:2: text: expected text, found nothing",
    ]);
  });
});
