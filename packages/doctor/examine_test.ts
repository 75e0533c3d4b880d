import { key } from "@rlhf/core/random";
import type { Ranking } from "@rlhf/core/records";
import { useBackend } from "@rlhf/tensor/backend";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { disposeModel, initModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { examine, pairsOf } from "./examine.ts";
import { invariance } from "./invariance.ts";
import { specialTokens } from "./special_tokens.ts";

const animals = ["cat", "dog", "cow", "owl", "fox", "bee", "ant", "hen", "pig", "rat", "bat", "elk"];
const rankings: ReadonlyArray<Ranking> = animals.map((animal) => ({
  prompt: `Where is the ${animal}?`,
  responses: [`The ${animal} is here.`, "No."],
  ranks: [1, 2],
}));
const tokenizer = tokenizerFromJson(
  trainBpe(
    rankings.flatMap(({ prompt, responses }) => [prompt, ...responses]),
    { vocabSize: 300 },
  ),
);

let model: Model;
beforeAll(async () => {
  await useBackend("cpu");
  const { vocabSize } = tokenizer;
  const shape = {
    architecture: "gpt2",
    vocabSize,
    contextLength: 48,
    layers: 1,
    width: 16,
    heads: 2,
  } as const;
  model = initModel(shape, key(1));
});
afterAll(() => disposeModel(model));

it("passes a model that is sound, and leaves it as it is", async () => {
  const tensors = tf.memory().numTensors;
  const before = await model.params["transformer.wte.weight"]!.data();
  const findings = await Effect.runPromise(examine({ model, tokenizer, rankings, key: key(2) }));
  expect(findings.filter(({ passed }) => !passed)).toEqual([]);
  expect(findings.map(({ check }) => check)).toEqual([
    "context",
    "special tokens",
    "padding and batch",
    "cache",
    "speed",
    "memory",
    "overfit 20 pairs",
  ]);
  expect(findings.find(({ check }) => check === "memory")!.found).toMatch(
    /^PPO would take \d+ of [\d,]+ MB of the machine's memory \(weights .*, with 8 sequences of \d+ tokens at a time/,
  );
  expect(await model.params["transformer.wte.weight"]!.data()).toEqual(before);
  expect(tf.memory().numTensors).toBe(tensors);
});

it("finds pairs that cannot be learned", async () => {
  const same = rankings.slice(0, 2).map((ranking) => ({ ...ranking, responses: ["No.", "No."] }));
  const findings = await Effect.runPromise(examine({ model, tokenizer, rankings: same, key: key(2) }));
  expect(findings.filter(({ passed }) => !passed).map(({ check }) => check)).toEqual(["overfit 20 pairs"]);
});

it("finds weights that are no numbers", async () => {
  const broken = initModel(model.config, key(3));
  tf.tidy(() => broken.params["transformer.h.0.mlp.c_fc.bias"]!.assign(tf.fill([64], Number.NaN)));
  const finding = await invariance(broken, [[5, 6, 7]], tokenizer.specials.pad);
  disposeModel(broken);
  expect(finding).toMatchObject({ passed: false, found: expect.stringContaining("differ by Infinity") });
});

it("finds special tokens inside texts, and texts that do not fit", async () => {
  const eos = tokenizer.idToToken(tokenizer.specials.eos)!;
  expect(specialTokens(model, tokenizer, ["fine", `cut${eos} off`])).toMatchObject({
    passed: false,
    found: expect.stringContaining("1 of 2 texts hold one of them"),
  });
  const long = pairsOf([{ prompt: "where ".repeat(99), response: "here" }]);
  const error = await Effect.runPromise(
    Effect.flip(examine({ model, tokenizer, rankings: long, key: key(2) })),
  );
  expect(error.message).toContain("no prompt with its responses fits into the model's context of 48 tokens");
});
