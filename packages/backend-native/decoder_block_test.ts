/** The block in one kernel against the same block composed of operations on the stock cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { attention } from "../tensor/attention.ts";
import { useBackend } from "../tensor/backend.ts";
import type { DecoderBlockWeights, DecoderSpec, NormWeights } from "../tensor/decoder.ts";
import { fusedDecoderBlock } from "../tensor/decoder_block.ts";
import { layerNorm } from "../tensor/layer_norm.ts";
import { linear } from "../tensor/linear.ts";
import { rmsNorm } from "../tensor/rms_norm.ts";
import { rope } from "../tensor/rope.ts";
import { swiglu } from "../tensor/swiglu.ts";
import { expectClose, type Raw, runOn } from "../tensor/testing/run_on.ts";
import { valueAndGrads } from "../tensor/value_and_grads.ts";
import type { NativeBackend } from "./backend.ts";
import { describeInstructionSets, floats, RandomSource, runNative } from "./testing/numbers.ts";

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

interface Size {
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
const sizes: ReadonlyArray<Size> = [
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

const source = new RandomSource(5);
/** x, then the weights in the order of `weightsOf`, then segments and positions. */
const inputsOf = ({ batch, time, width, inner, biases, spec }: Size): Raw[] => {
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
    ...shapes.map((shape) => floats(source, shape, 0.6)),
    { values: segments, shape: [batch, time], dtype: "int32" },
    { values: counts, shape: [batch, time], dtype: "int32" },
  ];
};
const weightsOf = (tensors: ReadonlyArray<tf.Tensor>, { biases, spec }: Size): DecoderBlockWeights => {
  const rest = tensors.values();
  const next = () => rest.next().value!;
  const norm = () => ({ gain: next(), bias: spec.norm === "layer" ? next() : undefined });
  const map = () => ({ weight: next(), bias: biases ? next() : undefined });
  const [attentionNorm, qkv, attentionOut] = [norm(), map(), map()];
  return { attentionNorm, qkv, attentionOut, feedForwardNorm: norm(), up: map(), down: map() };
};

const block = (size: Size, tensors: ReadonlyArray<tf.Tensor>): tf.Tensor2D => {
  const [x, ...rest] = tensors as [tf.Tensor2D, ...tf.Tensor[]];
  const [segments, positions] = rest.splice(-2) as [tf.Tensor2D, tf.Tensor2D];
  const options = { spec: size.spec, causal: size.causal, segments, positions };
  const weights = weightsOf(rest, size);
  const fused = fusedDecoderBlock(x, weights, options);
  expect(fused !== undefined).toBe(tf.getBackend() === "native");
  return fused ?? composedBlock(x, weights, options);
};

/** The block without and with a gradient to follow, and the gradients by all its float32 inputs. */
const everything = (size: Size) => (tensors: tf.Tensor[]) => {
  const [segments, positions] = tensors.slice(-2) as [tf.Tensor, tf.Tensor];
  const variable = tensors.slice(0, -2);
  const dy = tf.tensor(new RandomSource(3).floats(variable[0]!.size), variable[0]!.shape);
  const f = (...given: tf.Tensor[]) => block(size, [...given, segments, positions]);
  return [f(...variable), ...tf.grads(f)(variable, dy)];
};

describeInstructionSets(() => {
  it.each(sizes)("$name", async (size) => {
    const inputs = inputsOf(size);
    const expected = await runOn("cpu", inputs, everything(size));
    const found = await runNative(inputs, everything(size));
    expectClose(found, expected, 2e-5);
  });
});

it("keeps nothing without a gradient, and everything is free again after one", async () => {
  await useBackend("native");
  const { pool } = tf.backend() as NativeBackend;
  const size = { ...sizes[0]!, width: 60, inner: 240 };
  const tensors = inputsOf(size).map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
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
  const size = sizes[0]!;
  const tensors = inputsOf(size).map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
  const [x, ...rest] = tensors as [tf.Tensor2D, ...tf.Tensor[]];
  const [segments, positions] = rest.splice(-2) as [tf.Tensor2D, tf.Tensor2D];
  const weights = weightsOf(rest, size);
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
