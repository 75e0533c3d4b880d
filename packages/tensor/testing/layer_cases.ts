/** Differentiable operations with a fused kernel, at sizes that reach the paths of the kernels. */
import { integers, key } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { attention } from "../attention.ts";
import { embed } from "../embed.ts";
import type { FusedKernelName } from "../fused_kernels.ts";
import { layerNorm } from "../layer_norm.ts";
import { linear } from "../linear.ts";
import { linearTokenLogProbs } from "../linear_token_log_probs.ts";
import { rmsNorm } from "../rms_norm.ts";
import { rope } from "../rope.ts";
import { swiglu } from "../swiglu.ts";
import { tokenLogProbs } from "../token_log_probs.ts";
import { floats, ints, type Raw } from "./run_on.ts";

export interface FusedCase<Outputs = tf.Tensor | tf.Tensor[]> {
  /** What runs it where the backend brings it. */
  readonly kernel: FusedKernelName;
  readonly name: string;
  readonly inputs: ReadonlyArray<Raw>;
  readonly operation: (inputs: tf.Tensor[]) => Outputs;
}
/** Its gradients are compared too. */
export type Differentiable = FusedCase<tf.Tensor>;

const activations = ["gelu", "geluTanh", "silu", "relu", undefined] as const;
const linearCases = activations.flatMap((activation): Differentiable[] => {
  const described = activation ?? "no activation";
  const biased = (rows: number[], from: number, to: number, scale: number): Differentiable => ({
    kernel: "RlhfLinear",
    name: `${rows.join("x")}x${from}x${to}, ${described}, bias and residual`,
    inputs: [[...rows, from], [from, to], [to], [...rows, to]].map((shape, i) => floats(i, shape, scale)),
    operation: ([x, weight, bias, residual]) =>
      linear(x!, weight!, { bias, activation, residual: residual! }),
  });
  return [
    biased([70], 300, 95, 0.5),
    biased([2, 5], 9, 70, 1),
    {
      kernel: "RlhfLinear",
      name: `75x8x132, ${described}, bias`,
      inputs: [floats(1, [75, 8]), floats(2, [8, 132]), floats(3, [132])],
      operation: ([x, weight, bias]) => linear(x!, weight!, { bias, activation }),
    },
    {
      kernel: "RlhfLinear",
      name: `9x40x77, ${described}, transposed weight`,
      inputs: [floats(1, [9, 40], 0.5), floats(2, [77, 40], 0.5)],
      operation: ([x, weight]) => linear(x!, weight!, { activation, transposeWeight: true }),
    },
  ];
});

/** Many rows and few, short ones and long ones. */
const normCases = [
  [1100, 12],
  [1100, 3],
  [130, 64],
  [65, 100],
  [7, 1],
  [1, 333],
  [3, 1030],
  [2, 4100],
  [2, 5000],
].flatMap(([rows = 0, width = 0]): Differentiable[] => [
  {
    kernel: "RlhfLayerNorm",
    name: `${rows}x${width}`,
    inputs: [floats(1, [rows, width], 2), floats(2, [width]), floats(3, [width])],
    operation: ([x, gain, bias]) => layerNorm(x!, gain!, bias!),
  },
  {
    kernel: "RlhfRmsNorm",
    name: `${rows}x${width}`,
    inputs: [floats(1, [rows, width], 2), floats(2, [width])],
    operation: ([x, gain]) => rmsNorm(x!, gain!),
  },
]);

/** Runs of several lengths, with padding behind them and, in every second row, in front. */
const segments = (batch: number, time: number): Raw => {
  const lengths = integers(key(batch * time), 100, Math.ceil(time / 2));
  const values = new Int32Array(batch * time);
  let next = 0;
  for (let b = 0; b < batch; b++) {
    let at = b % 2 === 0 ? 0 : Math.min(3, time);
    for (let segment = 1; at < time - 4; segment++) {
      const end = Math.min(time, at + 1 + lengths[next++]!);
      values.fill(segment, b * time + at, b * time + end);
      at = end;
    }
  }
  return { values, shape: [batch, time], dtype: "int32" };
};
const attentionCases = [
  { batch: 2, time: 37, heads: 4, kvHeads: 2, headDim: 5, causal: true, segmented: false },
  { batch: 1, time: 64, heads: 4, kvHeads: 2, headDim: 5, causal: true, segmented: false },
  { batch: 2, time: 19, heads: 4, kvHeads: 2, headDim: 5, causal: false, segmented: true },
  { batch: 3, time: 65, heads: 6, kvHeads: 2, headDim: 5, causal: true, segmented: true },
  { batch: 1, time: 1, heads: 4, kvHeads: 4, headDim: 5, causal: true, segmented: false },
  { batch: 1, time: 18, heads: 4, kvHeads: 4, headDim: 130, causal: true, segmented: false },
  { batch: 2, time: 1, heads: 1, kvHeads: 1, headDim: 1, causal: true, segmented: true },
  { batch: 1, time: 64, heads: 4, kvHeads: 4, headDim: 8, causal: true, segmented: false },
  { batch: 2, time: 150, heads: 2, kvHeads: 2, headDim: 16, causal: true, segmented: true },
  { batch: 1, time: 140, heads: 4, kvHeads: 4, headDim: 20, causal: false, segmented: true },
  { batch: 2, time: 19, heads: 4, kvHeads: 4, headDim: 32, causal: false, segmented: true },
  { batch: 1, time: 64, heads: 4, kvHeads: 1, headDim: 33, causal: true, segmented: false },
  { batch: 1, time: 70, heads: 4, kvHeads: 4, headDim: 64, causal: true, segmented: false },
  { batch: 1, time: 200, heads: 1, kvHeads: 1, headDim: 64, causal: false, segmented: false },
  { batch: 1, time: 40, heads: 4, kvHeads: 4, headDim: 96, causal: true, segmented: true },
].map(({ batch, time, headDim, segmented, ...spec }): Differentiable => {
  const { heads, kvHeads, causal } = spec;
  const qkv = floats(4, [batch, time, (heads + 2 * kvHeads) * headDim], 1.5);
  return {
    kernel: "RlhfAttention",
    name: `${batch}x${time}, ${heads}/${kvHeads} heads of ${headDim}${causal ? ", causal" : ""}${segmented ? ", segments" : ""}`,
    inputs: segmented ? [qkv, segments(batch, time)] : [qkv],
    operation: ([x, runs]) =>
      attention(x as tf.Tensor3D, { ...spec, segments: runs as tf.Tensor2D | undefined }),
  };
});

const layerCases: ReadonlyArray<Differentiable> = [
  ...[
    { time: 70, heads: 4, kvHeads: 2, below: 2000 },
    { time: 7, heads: 9, kvHeads: 3, below: 5000 },
  ].map(
    ({ time, heads, kvHeads, below }): Differentiable => ({
      kernel: "RlhfRope",
      name: `3x${time}, ${heads}/${kvHeads} heads of 18, positions below ${below}`,
      inputs: [floats(1, [3, time, (heads + 2 * kvHeads) * 18]), ints(2, [3, time], below)],
      operation: ([x, positions]) =>
        rope(x as tf.Tensor3D, { heads, kvHeads, theta: 10000, positions: positions as tf.Tensor2D }),
    }),
  ),
  ...[
    [130, 94],
    [3, 88],
  ].map(
    (shape): Differentiable => ({
      kernel: "RlhfSwiglu",
      name: shape.join("x"),
      inputs: [floats(1, shape, 3)],
      operation: ([x]) => swiglu(x!),
    }),
  ),
  ...[
    { vocab: 50, width: 130, tokens: [4, 60] },
    { vocab: 200, width: 1028, tokens: [300] },
    { vocab: 1, width: 1, tokens: [70] },
    { vocab: 3, width: 5, tokens: [1] },
  ].map(
    ({ vocab, width, tokens }): Differentiable => ({
      kernel: "RlhfEmbed",
      name: `${tokens.join("x")} tokens of ${vocab}x${width}`,
      inputs: [floats(1, [vocab, width]), ints(2, tokens, vocab)],
      operation: ([weight, ids]) => embed(weight!, ids!),
    }),
  ),
];

/** Every third logit is −∞, but none that is asked for. */
export const masked = (rows: number, vocab: number): Raw => {
  const logits = floats(1, [rows, vocab], 3);
  return { ...logits, values: logits.values.map((z, i) => ((i % vocab) % 3 === 2 ? -Infinity : z)) };
};
const logProbCases: ReadonlyArray<Differentiable> = [
  ...[
    [75, 1003],
    [33, 700],
    [5, 3],
    [2, 1],
    [3, 8197],
  ].map(
    ([rows = 0, vocab = 0]): Differentiable => ({
      kernel: "RlhfTokenLogProbs",
      name: `${rows}x${vocab}`,
      inputs: [floats(1, [rows, vocab], 3), ints(2, [rows], vocab)],
      operation: ([logits, ids]) => tokenLogProbs(logits!, ids!, { temperature: 0.7 }),
    }),
  ),
  {
    kernel: "RlhfTokenLogProbs",
    name: "30x130, logits of −∞",
    inputs: [masked(30, 130), ints(2, [30], 2)],
    operation: ([logits, ids]) => tokenLogProbs(logits!, ids!),
  },
  ...[
    [90, 33, 517],
    [33, 24, 700],
    [5, 7, 3],
    [2, 1, 1],
    [3, 4, 8197],
  ].flatMap(([rows = 0, width = 0, vocab = 0]) =>
    [0, 0.1].map(
      (entropyWeight): Differentiable => ({
        kernel: "RlhfLinearTokenLogProbs",
        name: `${rows}x${width}x${vocab}${entropyWeight > 0 ? ", and entropy" : ""}`,
        inputs: [floats(1, [rows, width]), floats(2, [vocab, width]), ints(3, [rows], vocab)],
        operation: ([hidden, unembedding, ids]) => {
          const options = { temperature: 1.3 };
          const found = linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D, options);
          return entropyWeight === 0
            ? found.logProbs
            : tf.add(found.logProbs, tf.mul(found.entropy, entropyWeight));
        },
      }),
    ),
  ),
];

const none = (...shape: number[]) => floats(0, shape);
const noIds = (...shape: number[]) => ints(0, shape, 1);
/** Tensors without elements: gradients by what has elements all the same are 0. */
export const emptyCases: ReadonlyArray<Differentiable> = [
  {
    kernel: "RlhfLinear",
    inputs: [none(0, 5), none(5, 3), none(3), none(0, 3)],
    operation: ([x, weight, bias, residual]: tf.Tensor[]) =>
      linear(x!, weight!, { bias, activation: "gelu", residual: residual! }),
  },
  {
    kernel: "RlhfLayerNorm",
    inputs: [none(0, 5), none(5), none(5)],
    operation: ([x, gain, bias]: tf.Tensor[]) => layerNorm(x!, gain!, bias!),
  },
  {
    kernel: "RlhfRmsNorm",
    inputs: [none(0, 5), none(5)],
    operation: ([x, gain]: tf.Tensor[]) => rmsNorm(x!, gain!),
  },
  { kernel: "RlhfSwiglu", inputs: [none(0, 6)], operation: ([x]: tf.Tensor[]) => swiglu(x!) },
  {
    kernel: "RlhfEmbed",
    inputs: [none(4, 3), noIds(0)],
    operation: ([weight, ids]: tf.Tensor[]) => embed(weight!, ids!),
  },
  ...[
    [0, 4],
    [2, 0],
  ].map(([batch = 0, time = 0]) => ({
    kernel: "RlhfAttention",
    inputs: [none(batch, time, 8), noIds(batch, time)],
    operation: ([x, segments]: tf.Tensor[]) =>
      attention(x as tf.Tensor3D, { heads: 2, kvHeads: 1, causal: true, segments: segments as tf.Tensor2D }),
  })),
  {
    kernel: "RlhfRope",
    inputs: [none(0, 4, 6), noIds(0, 4)],
    operation: ([x, positions]: tf.Tensor[]) =>
      rope(x as tf.Tensor3D, { heads: 1, kvHeads: 1, theta: 1e4, positions: positions as tf.Tensor2D }),
  },
  {
    kernel: "RlhfTokenLogProbs",
    inputs: [none(0, 7), noIds(0)],
    operation: ([logits, ids]: tf.Tensor[]) => tokenLogProbs(logits!, ids!),
  },
  {
    kernel: "RlhfLinearTokenLogProbs",
    inputs: [none(0, 3), none(7, 3), noIds(0)],
    operation: ([hidden, unembedding, ids]: tf.Tensor[]) =>
      linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D).logProbs,
  },
].map((given) => ({
  ...given,
  kernel: given.kernel as FusedKernelName,
  name: `no elements: ${given.inputs[0]!.shape.join("x")}`,
}));

/** Operations with gradients. */
export const differentiableCases: ReadonlyArray<Differentiable> = [
  ...layerCases,
  ...linearCases,
  ...attentionCases,
  ...normCases,
  ...logProbCases,
];
