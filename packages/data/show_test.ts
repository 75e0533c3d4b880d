import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { trainBpe } from "@rlhf/tokenizer";
import * as Effect from "effect/Effect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Inspector } from "./inspect.ts";
import { show } from "./show.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-show-"));
});
afterAll(() => rm(folder, { recursive: true }));

const put = async (name: string, rows: ReadonlyArray<unknown>) => {
  const file = join(folder, name);
  await writeFile(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return file;
};

const prompts = [
  "How do I plant an apple tree in a small garden with heavy soil?",
  "What is the tallest mountain of the continent that I live on?",
  "Name three rivers that flow through more than one country.",
];
const pairs = prompts.map((prompt) => ({ prompt, chosen: "yes yes", rejected: "no" }));

it("measures lengths, duplicates, labels and near duplicates", () => {
  const records = prompts.map((prompt, i) => ({
    prompt,
    responses: ["a b c", "a"],
    ranks: i === 0 ? [1, 1] : [2, 1],
  }));
  const near = `${prompts[0]!.replace("small", "Small")} Please.`;
  const far = "How do I plant a lemon tree on a balcony?";
  const evaluation = [near, far].map((prompt) => ({ prompt, response: "r" }));
  const inspector = new Inspector({ count: (text) => text.split(" ").length, evaluation });
  inspector.add(records);
  inspector.add(records.slice(0, 1));
  const found = inspector.result();
  expect(found).toMatchObject({ records: 4, duplicates: 1 });
  expect(found.lengths).toEqual([
    { part: "prompt", count: 4, p50: 12, p95: 14, max: 14 },
    { part: "response", count: 8, p50: 1, p95: 3, max: 3 },
  ]);
  expect(found.balance).toEqual({ "2 responses": 4, "tie for the best": 2, "response 2 is best": 2 });
  expect(found.nearDuplicates.map(({ evaluation, training }) => [evaluation, training])).toEqual([
    [near, prompts[0]],
  ]);
  expect(found.samples.length).toBe(3);
});

it("shows what was understood of a file, in tokens of a tokenizer", async () => {
  const file = await put("pairs.jsonl", [...pairs, pairs[0], { prompt: 5 }]);
  const tokenizer = join(folder, "tokenizer.json");
  await writeFile(tokenizer, JSON.stringify(trainBpe(prompts, { vocabSize: 300 })));
  const evaluation = await put("evaluation.jsonl", pairs.slice(1, 2));
  const page = await Effect.runPromise(show(file, { tokenizer, evaluation, badShare: 0.5 }));
  expect(page).toContain("JSON lines, pairs: 5 rows, 4 rankings, 1 bad rows");
  expect(page).toMatch(/length in tokens +count +p50 +p95 +max\nprompt +4 /);
  expect(page).toContain("duplicates: 1 of 4");
  expect(page).toContain("near duplicates: 1 of 1 evaluation prompts");
  expect(page).toMatch(/response 1 is best +4 +100\.0 %/);
  expect(page).toContain("sample 3");
  expect(page).toContain("pairs.jsonl:5: prompt: expected text, found 5");
});

it("is a command", async () => {
  const file = await put(
    "questions.jsonl",
    prompts.map((question) => ({ question, answer: { best: "yes" } })),
  );
  const command = (...args: ReadonlyArray<string>) =>
    promisify(execFile)(process.execPath, [
      "--import",
      "tsx",
      join(import.meta.dirname, "rlhf_data.ts"),
      ...args,
    ]);
  const { stdout } = await command("show", file, "--fields", "prompt=question,response=answer.best");
  expect(stdout).toContain("JSON lines, prompt-response: 3 rows, 3 demonstrations");
  const refused = await command("show", file).catch((error) => error);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("the format is not known: found the fields question, answer");
});
