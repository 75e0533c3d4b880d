import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { type GenerateOptions, generate, type SampledToken } from "./generate.ts";
import { nextTokenLogProbs } from "./log_probs.ts";
import { logits } from "./logits.ts";
import { disposeModel, type Model } from "./model.ts";
import { oneSequence } from "./testing/golden.ts";
import { tinyConfig, tinyModel } from "./testing/tiny_model.ts";

let model: Model;
let tensors = 0;

beforeAll(async () => {
  await useBackend("cpu");
  model = tinyModel();
});
afterAll(() => disposeModel(model));
beforeEach(() => {
  tensors = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(tensors));

const prompts = [
  [3],
  [4, 5, 6, 7, 8],
  [2, 9],
  [10, 3, 3, 3],
  [5, 5],
  [6],
  [7, 8, 9],
  [2, 2, 2, 2, 2, 2],
  [8, 4],
];
const options: GenerateOptions = {
  prompts,
  maxNewTokens: 10,
  eos: 1,
  temperature: 0.8,
  key: key(5),
  slots: 4,
};

it("reports the log-probs that nextTokenLogProbs computes from the whole text", async () => {
  const generations = await generate(model, options);
  expect(generations).toHaveLength(prompts.length);
  expect(generations.some(({ finished }) => finished)).toBe(true);
  for (const [index, { tokens, logProbs, finished }] of generations.entries()) {
    expect(finished).toBe(tokens.at(-1) === options.eos);
    expect(finished || tokens.length === options.maxNewTokens).toBe(true);
    const prompt = prompts[index]!;
    const batch = oneSequence([...prompt, ...tokens]);
    const judged = nextTokenLogProbs(model, batch, { temperature: options.temperature });
    const expected = await judged.logProbs.data();
    logProbs.forEach((logProb, i) => {
      expect(Math.abs(logProb - expected[prompt.length + i]!)).toBeLessThan(1e-5);
    });
    tf.dispose([judged.logProbs, judged.entropy, batch.ids, batch.segments, batch.positions]);
  }
});

it("writes the same responses whatever the number of slots and the other prompts", async () => {
  const one = await generate(model, { ...options, slots: 1 });
  const eight = await generate(model, { ...options, slots: 8 });
  const first = await generate(model, { ...options, prompts: prompts.slice(0, 2) });
  expect(eight.map(({ tokens }) => tokens)).toEqual(one.map(({ tokens }) => tokens));
  expect(first.map(({ tokens }) => tokens)).toEqual(one.slice(0, 2).map(({ tokens }) => tokens));
  const shorter = await generate(model, { ...options, maxNewTokens: 3 });
  expect(shorter.map(({ tokens }) => tokens)).toEqual(one.map(({ tokens }) => tokens.slice(0, 3)));
  const other = await generate(model, { ...options, key: key(6) });
  expect(other.map(({ tokens }) => tokens)).not.toEqual(one.map(({ tokens }) => tokens));
});

it("decodes greedily with topK 1, as repeated forward passes do", async () => {
  const [generation] = await generate(model, { ...options, prompts: [[4, 5]], topK: 1, maxNewTokens: 6 });
  const tokens = [4, 5];
  while (tokens.length < 8 && tokens.at(-1) !== options.eos) {
    const batch = oneSequence(tokens);
    const scores = tf.tidy(() => tf.argMax(logits(model, batch), 2));
    tokens.push((await scores.data()).at(-1)!);
    tf.dispose([scores, batch.ids, batch.segments, batch.positions]);
  }
  expect(generation!.tokens).toEqual(tokens.slice(2));
});

it("ends responses where the context ends", async () => {
  const length = tinyConfig.contextLength;
  const full = Array.from({ length }, () => 4);
  const generations = await generate(model, { ...options, prompts: [full, full.slice(3)], eos: 0 });
  expect(generations.map(({ tokens }) => tokens.length)).toEqual([1, 4]);
});

it("tells about every token and lets the event loop run", async () => {
  const seen: Array<Array<number>> = prompts.map(() => []);
  const onTokens = (news: ReadonlyArray<SampledToken>) => {
    for (const { prompt, token } of news) seen[prompt]!.push(token);
  };
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const generations = await generate(model, { ...options, onTokens });
  clearInterval(timer);
  expect(seen).toEqual(generations.map(({ tokens }) => tokens));
  expect(turns).toBeGreaterThan(0);
});

it("lets the event loop run in runtimes without setImmediate", async () => {
  vi.stubGlobal("setImmediate", undefined);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const generations = await generate(model, options).finally(() => vi.unstubAllGlobals());
  clearInterval(timer);
  expect(generations).toEqual(await generate(model, options));
  expect(turns).toBeGreaterThan(0);
});

it("stops when it is told to, and frees its memory", async () => {
  const controller = new AbortController();
  const onTokens = () => controller.abort(new Error("enough"));
  await expect(generate(model, { ...options, onTokens, signal: controller.signal })).rejects.toThrow(
    "enough",
  );
});

it("refuses what it cannot do, and takes no prompts for an answer", async () => {
  expect(await generate(model, { ...options, prompts: [] })).toEqual([]);
  await expect(generate(model, { ...options, prompts: [[3], []] })).rejects.toThrow(
    /prompt 1 must have 1 to 24/,
  );
  await expect(generate(model, { ...options, maxNewTokens: 0 })).rejects.toThrow(/maxNewTokens/);
  const masked = { ...model, config: { ...model.config, architecture: "masked-lm" as const } };
  await expect(generate(masked, options)).rejects.toThrow(/causal/);
});
