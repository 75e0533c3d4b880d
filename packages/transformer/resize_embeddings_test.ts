import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { key } from "@rlhf/core/random";
import { expectFidelity, type GoldenSource, relativeError } from "@rlhf/core/testing/fidelity";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { beforeAll, describe, expect, it } from "vitest";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { logits } from "./logits.ts";
import { addLora } from "./lora.ts";
import { cloneModel, disposeModel, type Model } from "./model.ts";
import { resizeEmbeddings } from "./resize_embeddings.ts";
import { goldenPath } from "./testing/golden.ts";
import { atRealTokens, inputOf, readGoldenModel } from "./testing/golden_model.ts";
import { tinyModel } from "./testing/tiny_model.ts";

/** From `resize_token_embeddings` of Hugging Face's transformers: bench/references/transformer_resize.py. */
const {
  source,
  ...results
}: { readonly source: GoldenSource } & Record<string, { vocabSize: number; logits: Array<number> }> =
  JSON.parse(await readFile(goldenPath("resized.json"), "utf8"));

beforeAll(() => useBackend("cpu"));

const run = <A, E>(effect: Effect.Effect<A, E, Effect.Services<ReturnType<typeof loadCheckpoint>>>) =>
  Effect.runPromise(Effect.provide(effect, NodeServices.layer));

const logitsOf = async (model: Model, name: string) => {
  const golden = readGoldenModel(name);
  const batch = inputOf(golden, golden.right);
  const found = tf.tidy(() => atRealTokens(logits(model, batch), batch.segments));
  const values = await found.data();
  tf.dispose([found, batch.ids, batch.segments, batch.positions]);
  return values;
};

/** GPT-2 and Qwen 3 share their embedding with the unembedding, Llama has two, BERT a bias besides. */
describe.each(["gpt2", "qwen3", "llama", "bert"])("%s with more tokens", (name) => {
  it("gives what transformers gives, from a checkpoint that was written and read too", async () => {
    const tensors = tf.memory().numTensors;
    const { vocabSize, logits: expected } = results[name]!;
    const model = resizeEmbeddings(await run(loadCheckpoint(goldenPath(name))), vocabSize);
    const folder = await mkdtemp(join(tmpdir(), "resized-"));
    await run(saveCheckpoint(folder, model));
    const stored = await run(loadCheckpoint(folder, { vocabSize }));
    await rm(folder, { recursive: true });
    for (const one of [model, stored]) {
      expect(one.config.vocabSize).toBe(vocabSize);
      const error = relativeError(await logitsOf(one, name), expected);
      // transformers draws the new rows around the mean, with 1e-9 of the old rows' covariance.
      expectFidelity({ formula: `${name}: logits with added tokens`, source, error, limit: 1e-4 });
      disposeModel(one);
    }
    expect(tf.memory().numTensors).toBe(tensors);
  });
});

it("refuses fewer tokens and models with an adapter", () => {
  const model = tinyModel();
  expect(() => resizeEmbeddings(model, 10)).toThrow("vocabSize must be an integer of at least 11");
  const adapted = addLora(
    cloneModel(model),
    { rank: 1, alpha: 1, dropout: 0, targetModules: ["c_attn"] },
    key(1),
  );
  expect(() => resizeEmbeddings(adapted, 12)).toThrow("resize before addLora");
});
