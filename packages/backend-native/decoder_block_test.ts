/** What the block in one kernel keeps, and how it refuses; its numbers are held by the cases of the shared table. */
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import type { DecoderBlockWeights, DecoderSpec } from "../tensor/decoder.ts";
import { fusedDecoderBlock } from "../tensor/decoder_block.ts";
import { block, blockInputs, blockSizes, blockWeights } from "../tensor/testing/block_cases.ts";
import { valueAndGrads } from "../tensor/value_and_grads.ts";
import type { NativeBackend } from "./backend.ts";

it("keeps nothing without a gradient, and everything is free again after one", async () => {
  await useBackend("native");
  const { pool } = tf.backend() as NativeBackend;
  const size = { ...blockSizes[0]!, width: 60, inner: 240 };
  const tensors = blockInputs(size).map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
  const x = tf.variable(tensors[0]!);
  const run = () => block(size, [x, ...tensors.slice(1)]);
  const step = () => tf.dispose(valueAndGrads(() => tf.sum(run()), { x }) as unknown as tf.TensorContainer);
  run().dispose();
  step();
  const free = pool.bytes;
  const y = run();
  expect(free - pool.bytes).toBeLessThanOrEqual(4 * y.size + 64);
  y.dispose();
  step();
  expect(pool.bytes).toBe(free);
  tf.dispose([x, ...tensors]);
});

it("names what is missing or of a wrong size", async () => {
  await useBackend("native");
  const size = blockSizes[0]!;
  const tensors = blockInputs(size).map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
  const [x, ...rest] = tensors as [tf.Tensor2D, ...tf.Tensor[]];
  const [segments, positions] = rest.splice(-2) as [tf.Tensor2D, tf.Tensor2D];
  const weights = blockWeights(rest, size);
  const options = { spec: size.spec, causal: true, segments, positions };
  const run = (changes: Partial<DecoderBlockWeights>, spec: Partial<DecoderSpec> = {}) =>
    fusedDecoderBlock(x, { ...weights, ...changes }, { ...options, spec: { ...size.spec, ...spec } });
  expect(() => run({ attentionNorm: { gain: weights.attentionNorm.gain } })).toThrow(
    /RlhfDecoderBlock: attentionShift is missing/,
  );
  expect(() => run({ down: { weight: weights.up.weight } })).toThrow(
    /RlhfDecoderBlock: up must be \[24, 24\], got \[24, 50\]/,
  );
  expect(() => run({}, { heads: 2, kvHeads: 2 })).toThrow(/RlhfDecoderBlock: qkv must be \[24, 48\]/);
  expect(run({}, { headNorm: true })).toBeUndefined();
  tf.dispose(tensors);
});
