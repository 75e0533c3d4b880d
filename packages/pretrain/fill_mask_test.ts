import { Progress } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { disposeModel, initModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PretrainConfig } from "./config.ts";
import { fillMask } from "./fill_mask.ts";
import { pretrainMasked } from "./train_masked.ts";

const sentences = [
  "The Roman Empire began with the reign of Augustus.",
  "The Roman Empire ended with the fall of Constantinople.",
  "The Roman Republic ended with the battle of Actium.",
  "The French Revolution began with the fall of the Bastille.",
  "The Middle Ages ended with the voyage of Columbus.",
  "The Renaissance began with the poets of Florence.",
];
const specialTokens = { eos: "<|endoftext|>", pad: "<|pad|>", mask: "[MASK]" };
const tokenizer = tokenizerFromJson(trainBpe(sentences, { vocabSize: 512, specialTokens }), {
  specialTokens,
});
let model: Model;

beforeAll(async () => {
  await useBackend("wasm");
  const { vocabSize } = tokenizer;
  model = initModel(
    { architecture: "masked-lm", vocabSize, contextLength: 16, layers: 1, width: 32, heads: 2 },
    key(1),
  );
  // Of each copy of a sentence other tokens are hidden.
  const sequences = Array.from({ length: 4 }, () => sentences.map(tokenizer.encode)).flat();
  await Effect.runPromise(
    pretrainMasked({
      model,
      sequences,
      validation: sequences,
      mask: tokenizer.specials.mask!,
      config: PretrainConfig.make({
        steps: 200,
        batchSize: 24,
        microBatchSize: 24,
        learningRate: 1e-2,
        warmupSteps: 10,
        weightDecay: 0,
      }),
      key: key(2),
    }).pipe(Effect.provide(Layer.merge(Progress.layerSilent, RunFolder.layerMemory))),
  );
}, 120_000);
afterAll(() => disposeModel(model));

it.each(sentences)("fills the mask as in: %s", async (sentence) => {
  const before = tf.memory().numTensors;
  const gap = sentence.replace(/began|ended/, "[MASK]");
  const [best, second] = await fillMask(model, tokenizer, gap);
  expect(best!.text).toBe(sentence);
  expect(best!.token).toBe(sentence.includes("began") ? "began" : "ended");
  expect(best!.probability).toBeGreaterThan(0.5);
  expect(second!.probability).toBeLessThan(0.5);
  expect(tf.memory().numTensors).toBe(before);
});

it("refuses a text without a gap or with two, and a tokenizer without a mask token", async () => {
  await expect(fillMask(model, tokenizer, "No gap.")).rejects.toThrow("exactly once");
  await expect(fillMask(model, tokenizer, "[MASK] [MASK]")).rejects.toThrow("exactly once");
  await expect(fillMask(model, { ...tokenizer, specials: {} }, "A [MASK].")).rejects.toThrow("mask token");
});
