/** Small decoders with random weights, and ragged steps for them. */
import { integers, key } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { createKvCache, decodeStep } from "../decode_step.ts";
import type { DecoderSpec, DecoderWeights } from "../decoder.ts";
import { randomNumbers } from "./numbers.ts";

export const [vocab, layers] = [61, 2];
const [width, inner] = [36, 50];

export const gpt: DecoderSpec = {
  heads: 4,
  kvHeads: 4,
  headDim: 9,
  norm: "layer",
  epsilon: 1e-5,
  activation: "geluTanh",
};
export const llama: DecoderSpec = {
  heads: 4,
  kvHeads: 2,
  headDim: 10,
  norm: "rms",
  epsilon: 1e-6,
  activation: "swiglu",
  ropeTheta: 1e4,
};

/** Biases come with layer norms; positions, and a tied unembedding, where nothing rotates. The caller disposes the weights. */
export const decoderWeights = (spec: DecoderSpec, context: number): DecoderWeights => {
  const { heads, kvHeads, headDim, norm, activation } = spec;
  let seed = 0;
  const random = (...shape: number[]) => tf.tensor(randomNumbers(seed++, shape, 0.3), shape);
  const gains = () => ({ gain: random(width), ...(norm === "layer" && { bias: random(width) }) });
  const map = (from: number, to: number) => ({
    weight: random(from, to),
    ...(norm === "layer" && { bias: random(to) }),
  });
  const tokenEmbedding = random(vocab, width);
  return {
    tokenEmbedding,
    ...(spec.ropeTheta === undefined && { positionEmbedding: random(context, width) }),
    blocks: Array.from({ length: layers }, () => ({
      attentionNorm: gains(),
      qkv: map(width, (heads + 2 * kvHeads) * headDim),
      ...(spec.headNorm && { queryNorm: random(headDim), keyNorm: random(headDim) }),
      attentionOut: map(heads * headDim, width),
      feedForwardNorm: gains(),
      up: map(width, activation === "swiglu" ? 2 * inner : inner),
      down: map(inner, width),
    })),
    finalNorm: gains(),
    unembedding: spec.ropeTheta === undefined ? tokenEmbedding : random(vocab, width),
  };
};

/** Runs `[slot, first position, tokens]` of random tokens; the last of each gives logits. */
export const stepOf = (seed: number, runs: ReadonlyArray<readonly [number, number, number]>) => {
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
export const mixedSteps = (spec: DecoderSpec, context: number): tf.Tensor[] => {
  const weights = decoderWeights(spec, context);
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
      [2, 0, 18],
      [1, 5, 1],
    ]),
    stepOf(4, [
      [2, 18, 1],
      [1, 6, 1],
    ]),
  ];
  const logits = steps.map((step) => decodeStep({ spec, weights, cache, ...step }));
  cache.dispose();
  return logits;
};
