/** A whole block of a decoder, fused and composed, with and without a gradient to follow. */
import * as tf from "@tensorflow/tfjs-core";
import { attention } from "../attention.ts";
import type { DecoderBlockWeights, DecoderSpec, NormWeights } from "../decoder.ts";
import { fusedDecoderBlock } from "../decoder_block.ts";
import { layerNorm } from "../layer_norm.ts";
import { linear } from "../linear.ts";
import { rmsNorm } from "../rms_norm.ts";
import { rope } from "../rope.ts";
import { swiglu } from "../swiglu.ts";
import type { FusedCase } from "./layer_cases.ts";
import { floats, type Raw, withGradients } from "./run_on.ts";

type Options = Parameters<typeof fusedDecoderBlock>[2];

const composedBlock = (x: tf.Tensor2D, weights: DecoderBlockWeights, options: Options): tf.Tensor2D => {
  const { spec, causal, segments, positions } = options;
  const { heads, kvHeads, epsilon, activation, ropeTheta } = spec;
  const norm = (x: tf.Tensor2D, { gain, bias }: NormWeights) =>
    bias ? layerNorm(x, gain, bias, epsilon) : rmsNorm(x, gain, epsilon);
  const { qkv, attentionOut, up, down } = weights;
  const flat = linear(norm(x, weights.attentionNorm), qkv.weight, { bias: qkv.bias });
  let split: tf.Tensor3D = tf.reshape(flat, [...segments.shape, qkv.weight.shape[1]!]);
  if (ropeTheta !== undefined) split = rope(split, { heads, kvHeads, positions, theta: ropeTheta });
  const mixed = attention(split, { heads, kvHeads, causal, segments });
  const out = { bias: attentionOut.bias, residual: x };
  const h = linear(tf.reshape(mixed, [x.shape[0], -1]) as tf.Tensor2D, attentionOut.weight, out);
  const normed = norm(h, weights.feedForwardNorm);
  const inner =
    activation === "swiglu"
      ? swiglu(linear(normed, up.weight, { bias: up.bias }))
      : linear(normed, up.weight, { bias: up.bias, activation });
  return linear(inner, down.weight, { bias: down.bias, residual: h });
};

export interface BlockSize {
  readonly name: string;
  readonly batch: number;
  readonly time: number;
  readonly width: number;
  readonly inner: number;
  readonly biases: boolean;
  readonly causal: boolean;
  readonly spec: DecoderSpec;
}
const gpt2 = { norm: "layer", epsilon: 1e-5, activation: "geluTanh" } as const;
const llama = { norm: "rms", epsilon: 1e-6, activation: "swiglu", ropeTheta: 10_000 } as const;
export const blockSizes: ReadonlyArray<BlockSize> = [
  {
    name: "GPT-2",
    batch: 3,
    time: 37,
    width: 24,
    inner: 50,
    biases: true,
    causal: true,
    spec: { ...gpt2, heads: 3, kvHeads: 3, headDim: 8 },
  },
  {
    name: "both directions",
    batch: 2,
    time: 5,
    width: 6,
    inner: 7,
    biases: true,
    causal: false,
    spec: { ...gpt2, activation: "gelu", heads: 2, kvHeads: 2, headDim: 3 },
  },
  {
    name: "Llama",
    batch: 2,
    time: 33,
    width: 20,
    inner: 31,
    biases: false,
    causal: true,
    spec: { ...llama, heads: 4, kvHeads: 2, headDim: 6 },
  },
  {
    name: "one token",
    batch: 1,
    time: 1,
    width: 1,
    inner: 1,
    biases: true,
    causal: true,
    spec: { ...llama, heads: 1, kvHeads: 1, headDim: 2 },
  },
];

/** x, then the weights in the order of `blockWeights`, then segments and positions. */
export const blockInputs = ({ batch, time, width, inner, biases, spec }: BlockSize): Raw[] => {
  const { heads, kvHeads, headDim, norm, activation } = spec;
  const qkv = (heads + 2 * kvHeads) * headDim;
  const up = activation === "swiglu" ? 2 * inner : inner;
  const shapes: number[][] = [
    [batch * time, width],
    ...(norm === "layer" ? [[width], [width]] : [[width]]),
    ...[[width, qkv], ...(biases ? [[qkv]] : [])],
    ...[[heads * headDim, width], ...(biases ? [[width]] : [])],
    ...(norm === "layer" ? [[width], [width]] : [[width]]),
    ...[[width, up], ...(biases ? [[up]] : [])],
    ...[[inner, width], ...(biases ? [[width]] : [])],
  ];
  const counts = Int32Array.from({ length: batch * time }, (_, i) => i % time);
  const segments = counts.map((position) => (position > time - 3 && time > 3 ? 0 : position < 2 ? 1 : 2));
  return [
    ...shapes.map((shape, i) => floats(i, shape, 0.6)),
    { values: segments, shape: [batch, time], dtype: "int32" },
    { values: counts, shape: [batch, time], dtype: "int32" },
  ];
};

export const blockWeights = (
  tensors: ReadonlyArray<tf.Tensor>,
  { biases, spec }: BlockSize,
): DecoderBlockWeights => {
  const rest = tensors.values();
  const next = () => rest.next().value!;
  const norm = () => ({ gain: next(), bias: spec.norm === "layer" ? next() : undefined });
  const map = () => ({ weight: next(), bias: biases ? next() : undefined });
  const [attentionNorm, qkv, attentionOut] = [norm(), map(), map()];
  return { attentionNorm, qkv, attentionOut, feedForwardNorm: norm(), up: map(), down: map() };
};

/** The block of `blockInputs`, in one kernel where the backend has it. */
export const block = (size: BlockSize, tensors: ReadonlyArray<tf.Tensor>): tf.Tensor2D => {
  const [x, ...rest] = tensors as [tf.Tensor2D, ...tf.Tensor[]];
  const [segments, positions] = rest.splice(-2) as [tf.Tensor2D, tf.Tensor2D];
  const options = { spec: size.spec, causal: size.causal, segments, positions };
  const weights = blockWeights(rest, size);
  return fusedDecoderBlock(x, weights, options) ?? composedBlock(x, weights, options);
};

export const blockCases: ReadonlyArray<FusedCase> = blockSizes.map((size) => ({
  kernel: "RlhfDecoderBlock",
  name: size.name,
  inputs: blockInputs(size),
  operation: withGradients((tensors) => block(size, tensors)),
}));
