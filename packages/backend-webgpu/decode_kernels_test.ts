/** Ragged decoding with the cache on the GPU against its composed form on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { integers, key } from "../core/random.ts";
import { createKvCache, decodeStep } from "../tensor/decode_step.ts";
import type { DecoderSpec, DecoderWeights } from "../tensor/decoder.ts";
import { hasFusedKernel } from "../tensor/fused_kernels.ts";
import { expectClose, floats, runOn } from "./testing/numbers.ts";
import { hasAdapter } from "./testing/software_adapter.ts";

const [vocab, width, inner, context, layers] = [17, 8, 12, 80, 2];
const gpt: DecoderSpec = {
  heads: 2,
  kvHeads: 2,
  headDim: 4,
  norm: "layer",
  epsilon: 1e-5,
  activation: "geluTanh",
};
const llama: DecoderSpec = {
  heads: 4,
  kvHeads: 2,
  headDim: 2,
  norm: "rms",
  epsilon: 1e-6,
  activation: "swiglu",
  ropeTheta: 1e4,
};

const makeWeights = ({ norm, activation, ropeTheta, ...spec }: DecoderSpec): DecoderWeights => {
  let seed = 0;
  const random = (...shape: number[]) => tf.tensor(floats(seed++, shape, 0.5).values, shape);
  const gains = () => ({ gain: random(width), ...(norm === "layer" && { bias: random(width) }) });
  const map = (from: number, to: number) => ({
    weight: random(from, to),
    ...(norm === "layer" && { bias: random(to) }),
  });
  const mixed = spec.heads * spec.headDim;
  return {
    tokenEmbedding: random(vocab, width),
    ...(ropeTheta === undefined && { positionEmbedding: random(context, width) }),
    blocks: Array.from({ length: layers }, () => ({
      attentionNorm: gains(),
      qkv: map(width, mixed + 2 * spec.kvHeads * spec.headDim),
      attentionOut: map(mixed, width),
      feedForwardNorm: gains(),
      up: map(width, activation === "swiglu" ? 2 * inner : inner),
      down: map(inner, width),
    })),
    finalNorm: gains(),
    unembedding: random(vocab, width),
  };
};

/** Rows `[slot, first position, tokens]`; the last of each gives logits. */
const stepOf = (seed: number, runs: ReadonlyArray<readonly [number, number, number]>) => {
  const total = runs.reduce((sum, [, , count]) => sum + count, 0);
  let end = 0;
  return {
    ids: integers(key(seed), total, vocab),
    slots: Int32Array.from(runs.flatMap(([slot, , count]) => Array<number>(count).fill(slot))),
    positions: Int32Array.from(
      runs.flatMap(([, first, count]) => Array.from({ length: count }, (_, i) => first + i)),
    ),
    outputRows: Int32Array.from(runs, ([, , count]) => (end += count) - 1),
  };
};

describe.skipIf(!(await hasAdapter()))("decoding as on cpu", () => {
  it.each([
    ["GPT-2", gpt],
    ["Llama", llama],
  ])("%s: prompts, single tokens and a slot used again", async (_, spec) => {
    const operation = () => {
      const weights = makeWeights(spec);
      const cache = createKvCache(spec, { layers, slots: 3, length: context });
      const steps = [
        stepOf(1, [
          [2, 0, 70],
          [0, 0, 3],
        ]),
        stepOf(2, [
          [0, 3, 1],
          [2, 70, 1],
          [1, 0, 5],
        ]),
        stepOf(3, [
          [2, 0, 2],
          [1, 5, 1],
        ]),
      ];
      const logits = steps.map((step) => decodeStep({ spec, weights, cache, ...step }));
      cache.dispose();
      return logits;
    };
    const actual = await runOn("webgpu", [], operation);
    expect(hasFusedKernel("RlhfDecodeStep")).toBe(true);
    expectClose(actual, await runOn("cpu", [], operation), 1e-5);
  });
});
