import { readFileSync } from "node:fs";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { key, uniforms } from "@rlhf/core/random";
import { expectFidelity, type GoldenSource } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import { sample } from "@rlhf/tensor/sample";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { beforeAll, describe, expect, it } from "vitest";
import { loadCheckpoint } from "./checkpoint.ts";
import { generate, penalized } from "./generate.ts";
import { nextTokenLogProbs } from "./log_probs.ts";
import { disposeModel } from "./model.ts";
import { goldenPath, oneSequence } from "./testing/golden.ts";
import { cpuAndNative } from "./testing/golden_model.ts";

interface Settings {
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
}

/** From the logits processors of Python's transformers: bench/references/transformer_sampling.py. */
const golden: {
  readonly rows: number;
  readonly vocabulary: number;
  readonly logits: Array<number>;
  readonly texts: Array<Array<number>>;
  readonly cases: Array<{ readonly settings: Settings; readonly probabilities: Array<number> }>;
  readonly source: GoldenSource;
} = JSON.parse(readFileSync(goldenPath("sampling.json"), "utf8"));
const { rows, vocabulary } = golden;

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);

/** The ids drawn from every row of the golden logits with each of these numbers: `[draws][rows]`. */
const draw = async (settings: Settings, numbers: Float32Array) => {
  const { repetitionPenalty = 1, ...rest } = settings;
  const drawn = tf.tidy(() => {
    const logits = penalized(tf.tensor2d(golden.logits, [rows, vocabulary]), golden.texts, repetitionPenalty);
    const repeated = tf.tile(logits, [numbers.length, 1]);
    const each = Float32Array.from(
      { length: numbers.length * rows },
      (_, i) => numbers[Math.floor(i / rows)]!,
    );
    return sample(repeated, tf.tensor1d(each), rest).ids;
  });
  const ids = await drawn.data();
  drawn.dispose();
  return Array.from(numbers, (_, i) => ids.slice(i * rows, (i + 1) * rows));
};

describe.each(await cpuAndNative())("sampling on %s", (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(golden.cases)(
    "inverts transformers' distribution with $settings",
    async ({ settings, probabilities }) => {
      const numbers = Float32Array.from({ length: 200 }, (_, i) => (i + 0.5) / 200);
      const drawn = await draw(settings, numbers);
      let wrong = 0;
      for (let row = 0; row < rows; row++) {
        const p = probabilities.slice(row * vocabulary, (row + 1) * vocabulary);
        const ends = p.map((_, id) => p.slice(0, id + 1).reduce((sum, value) => sum + value, 0));
        for (const [i, number] of numbers.entries()) {
          if (ends.some((end) => Math.abs(end - number) < 1e-6)) continue; // rounding decides
          if (drawn[i]![row] !== ends.findIndex((end) => end > number)) wrong += 1;
        }
      }
      const formula = "sampled ids: temperature, top-k, top-p, repetition penalty";
      expectFidelity({ formula, source: golden.source, error: wrong, limit: 0 });
    },
  );

  it("passes a chi-square test", async () => {
    const { settings, probabilities } = golden.cases[5]!;
    const draws = 20_000;
    const drawn = await draw(settings, uniforms(key(3), draws));
    for (let row = 0; row < rows; row++) {
      const counts = new Array<number>(vocabulary).fill(0);
      for (const ids of drawn) counts[ids[row]!]! += 1;
      let [statistic, freedom] = [0, -1];
      for (const [id, count] of counts.entries()) {
        const expected = draws * probabilities[row * vocabulary + id]!;
        if (expected === 0) expect(count).toBe(0);
        else [statistic, freedom] = [statistic + (count - expected) ** 2 / expected, freedom + 1];
      }
      // Wilson and Hilferty: the cube root is near normal; 3.09 deviations are 1 in 1000.
      const spread = 2 / (9 * freedom);
      const deviations = (Math.cbrt(statistic / freedom) - (1 - spread)) / Math.sqrt(spread);
      expect(deviations).toBeLessThan(3.09);
    }
  });

  it.each(["gpt2", "llama", "qwen2", "qwen3"])(
    "reports the log-probs of training while %s generates",
    async (name) => {
      const before = tf.memory().numTensors;
      const model = await Effect.runPromise(Effect.provide(loadCheckpoint(goldenPath(name)), files));
      const prompts = [[3], [4, 5, 6], [7, 8]];
      for (const change of [{}, { topK: 5, topP: 0.9, repetitionPenalty: 1.2 }]) {
        const options = { prompts, maxNewTokens: 8, eos: [1, 2], temperature: 0.8, key: key(2), ...change };
        const generations = await generate(model, options);
        for (const [i, { tokens, logProbs, finished }] of generations.entries()) {
          expect(finished).toBe([1, 2].includes(tokens.at(-1)!));
          const batch = oneSequence([...prompts[i]!, ...tokens]);
          const judged = nextTokenLogProbs(model, batch, { temperature: 0.8 });
          const expected = (await judged.logProbs.data()).slice(prompts[i]!.length);
          const worst = Math.max(...logProbs.map((logProb, t) => Math.abs(logProb - expected[t]!)));
          const formula = `${name}: max |Δ log p| between sampling and training`;
          expectFidelity({ formula, error: worst, limit: 1e-5 });
          tf.dispose([judged.logProbs, judged.entropy, batch.ids, batch.segments, batch.positions]);
        }
      }
      disposeModel(model);
      expect(tf.memory().numTensors).toBe(before);
    },
  );
});
