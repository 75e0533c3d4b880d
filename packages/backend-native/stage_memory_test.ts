/** `stageMemory` of `@rlhf/transformer` counts what this backend keeps of a forward pass. */

import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { key } from "../core/random.ts";
import { padRight } from "../data/token_batch.ts";
import { useBackend } from "../tensor/backend.ts";
import {
  disposeModel,
  initModel,
  nextTokenLogProbs,
  passBytes,
  type TransformerConfig,
  toSequences,
} from "../transformer/mod.ts";
import type { NativeBackend } from "./backend.ts";

beforeAll(async () => void (await useBackend("native")));

const gpt2 = {
  architecture: "gpt2",
  vocabSize: 500,
  contextLength: 64,
  layers: 3,
  width: 96,
  heads: 4,
} as const;
const qwen = {
  ...gpt2,
  architecture: "qwen2",
  kvHeads: 2,
  headDim: 24,
  innerWidth: 256,
  epsilon: 1e-6,
  ropeTheta: 1e4,
  tied: true,
} as const;

it.each<[string, TransformerConfig, number]>([
  ["gpt2", gpt2, 0],
  ["gpt2 with dropout", gpt2, 0.1],
  ["qwen2", qwen, 0],
  ["qwen2 with dropout", qwen, 0.1],
  ["qwen3", { ...qwen, architecture: "qwen3" }, 0],
])("what a forward pass keeps, within a tenth: %s", (_, config, rate) => {
  const model = initModel(config, key(1));
  const [rows, length] = [8, 64];
  const batch = padRight(
    Array.from({ length: rows }, (_, row) => ({
      tokens: Array.from({ length }, (_, i) => (7 * i + row) % 500),
    })),
    { padId: 0 },
  );
  const { pool } = tf.backend() as NativeBackend;
  const take = pool.take.bind(pool);
  let taken = 0;
  pool.take = (size) => {
    taken += 4 * size;
    return take(size);
  };
  const dropout = rate > 0 ? { dropout: { rate, key: key(2) } } : {};
  tf.dispose(tf.tidy(() => nextTokenLogProbs(model, toSequences(batch), dropout).logProbs));
  pool.take = take;
  const masks = rate > 0 ? 4 * rows * length * 96 * (2 * 3 + 1) : 0; // made outside the pool
  const tokens = rows * length;
  expect((taken + masks) / passBytes(config, { tokens, predictions: tokens, dropout: rate > 0 })).toBeCloseTo(
    1,
    1,
  );
  disposeModel(model);
});
