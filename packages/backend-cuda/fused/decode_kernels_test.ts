/** Ragged decoding with the cache on the GPU, and its recorded steps, against its composed form on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { expectClose, floats, runOn } from "../../backend-webgpu/testing/numbers.ts";
import { integers, key } from "../../core/random.ts";
import { useBackend } from "../../tensor/backend.ts";
import { createKvCache, decodeStep } from "../../tensor/decode_step.ts";
import type { DecoderSpec, DecoderWeights } from "../../tensor/decoder.ts";
import { hasFusedKernel } from "../../tensor/fused_kernels.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";
import { CudaKvCache } from "./kv_cache.ts";

const [vocab, width, inner, layers] = [17, 8, 12, 2];
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

const makeWeights = (
  { norm, activation, ropeTheta, ...spec }: DecoderSpec,
  context: number,
): DecoderWeights => {
  let seed = 0;
  const random = (...shape: number[]) => tf.variable(tf.tensor(floats(seed++, shape, 0.5).values, shape));
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

/** Logits of prompts, single tokens and a slot used again. */
const mixedSteps = (spec: DecoderSpec, context: number): tf.Tensor[] => {
  const weights = makeWeights(spec, context);
  const cache = createKvCache(spec, { layers, slots: 3, length: context });
  const prompt = context - 10;
  const steps = [
    stepOf(1, [
      [2, 0, prompt],
      [0, 0, 3],
    ]),
    stepOf(2, [
      [0, 3, 1],
      [2, prompt, 1],
      [1, 0, 5],
    ]),
    stepOf(3, [
      [2, 0, 2],
      [1, 5, 1],
    ]),
  ];
  const logits = steps.map((step) => decodeStep({ spec, weights, cache, ...step }));
  cache.dispose();
  tf.dispose(weights as unknown as tf.TensorContainer);
  return logits;
};

describe.skipIf(!hasDevice())("decoding as on cpu", () => {
  it.each([
    ["GPT-2", gpt, 80],
    ["Llama", llama, 80],
    ["Llama with a context in two splits", llama, 300],
  ])("%s: prompts, single tokens and a slot used again", async (_, spec, context) => {
    const operation = () => mixedSteps(spec, context);
    const actual = await runOn("cuda", [], operation);
    expect(hasFusedKernel("RlhfDecodeStep")).toBe(true);
    expectClose(actual, await runOn("cpu", [], operation), 1e-5);
  });

  it.each([
    ["GPT-2", gpt, 80],
    ["Llama with a context in two splits", llama, 300],
  ])("%s in bf16, the cache too", async (_, spec, context) => {
    await useBackend("cuda");
    const backend = tf.backend() as CudaBackend;
    const operation = () => mixedSteps(spec, context);
    backend.precision = "bf16";
    const actual = await runOn("cuda", [], operation);
    backend.precision = "fp32";
    // Half the distance between neighbours in bf16, 2⁻⁹, times what two layers make of it.
    expectClose(actual, await runOn("cpu", [], operation), 2 ** -6);
  });

  it("replays recorded steps, for batches that shrink and weights that change", async () => {
    let recorded = 0;
    const operation = () => {
      const weights = makeWeights(gpt, 30);
      const cache = createKvCache(gpt, { layers, slots: 3, length: 30 });
      const slots = [[0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 1, 2], [2, 0, 1], [2, 1], [2, 1], [1]];
      const logits = slots.flatMap((order, position) => {
        if (position === 3) {
          const { weight } = weights.blocks[0]!.up;
          (weight as tf.Variable).assign(tf.mul(weight, 1.5));
        }
        const step = stepOf(
          position,
          order.map((slot) => [slot, position, 1] as const),
        );
        return [decodeStep({ spec: gpt, weights, cache, ...step })];
      });
      if (cache instanceof CudaKvCache)
        recorded = [...cache.steps.values()].filter((step) => step !== "seen").length;
      cache.dispose();
      tf.dispose(weights as unknown as tf.TensorContainer);
      return logits;
    };
    const actual = await runOn("cuda", [], operation);
    expect(recorded).toBe(2);
    expectClose(actual, await runOn("cpu", [], operation), 1e-5);
  });
});
