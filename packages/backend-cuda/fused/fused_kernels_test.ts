/** Values and gradients of the fused operations against their composed form on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import {
  expectClose,
  floats,
  ints,
  type Raw,
  runOn,
  withGradients,
} from "../../backend-webgpu/testing/numbers.ts";
import { integers, key, uniforms } from "../../core/random.ts";
import { adamwStep } from "../../tensor/adamw_step.ts";
import { addInto } from "../../tensor/add_into.ts";
import { attention } from "../../tensor/attention.ts";
import { useBackend } from "../../tensor/backend.ts";
import { embed } from "../../tensor/embed.ts";
import { hasFusedKernel } from "../../tensor/fused_kernels.ts";
import { globalNorm } from "../../tensor/global_norm.ts";
import { layerNorm } from "../../tensor/layer_norm.ts";
import { linear } from "../../tensor/linear.ts";
import { linearTokenLogProbs } from "../../tensor/linear_token_log_probs.ts";
import { rmsNorm } from "../../tensor/rms_norm.ts";
import { rope } from "../../tensor/rope.ts";
import { sample } from "../../tensor/sample.ts";
import { swiglu } from "../../tensor/swiglu.ts";
import { tokenLogProbs } from "../../tensor/token_log_probs.ts";
import { hasDevice } from "../testing/emulator.ts";
import { chunking } from "./log_prob_kernels.ts";

interface Case {
  readonly name: string;
  readonly inputs: ReadonlyArray<Raw>;
  readonly operation: (inputs: tf.Tensor[]) => tf.Tensor;
}

/** Rows by warps and by blocks, and rows of every number of registers in the gradient. */
const normCases = [
  [1100, 12],
  [130, 64],
  [7, 1],
  [1, 333],
  [65, 100],
  [3, 1030],
  [2, 4100],
  [2, 5000],
  [1100, 3],
].flatMap(([rows = 0, width = 0]): Case[] => [
  {
    name: `layer norm ${rows}x${width}`,
    inputs: [floats(1, [rows, width], 2), floats(2, [width]), floats(3, [width])],
    operation: ([x, gain, bias]) => layerNorm(x!, gain!, bias!),
  },
  {
    name: `rms norm ${rows}x${width}`,
    inputs: [floats(1, [rows, width], 2), floats(2, [width])],
    operation: ([x, gain]) => rmsNorm(x!, gain!),
  },
]);

const logProbCases = [
  [5, 7, 3],
  [33, 24, 700],
  [2, 1, 1],
  [3, 4, 8197],
].flatMap(([rows = 0, width = 0, vocab = 0]): Case[] => [
  {
    name: `token log-probs ${rows}x${vocab}`,
    inputs: [floats(1, [rows, vocab], 3), ints(2, [rows], vocab)],
    operation: ([logits, ids]) => tokenLogProbs(logits!, ids!, { temperature: 0.7 }),
  },
  {
    name: `linear token log-probs ${rows}x${width}x${vocab}`,
    inputs: [floats(1, [rows, width]), floats(2, [vocab, width]), ints(3, [rows], vocab)],
    operation: ([hidden, unembedding, ids]) => {
      const options = { temperature: 1.3 };
      const found = linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D, options);
      return tf.add(found.logProbs, tf.mul(found.entropy, 0.1));
    },
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
  return { values, shape: [batch, time] };
};
const attentionCases = [
  { batch: 2, time: 37, headDim: 5, causal: true },
  { batch: 1, time: 64, headDim: 8, causal: true },
  { batch: 1, time: 150, headDim: 16, causal: true, segmented: true },
  { batch: 2, time: 19, headDim: 32, causal: false, segmented: true },
  { batch: 2, time: 1, headDim: 1, causal: true, segmented: true },
  { batch: 1, time: 70, headDim: 64, causal: true },
  { batch: 1, time: 140, headDim: 20, causal: false, segmented: true },
  { batch: 1, time: 40, headDim: 96, causal: true, segmented: true },
  { batch: 1, time: 18, headDim: 130, causal: true },
].map(({ batch, time, headDim, causal, segmented }): Case => {
  const spec = { heads: 4, kvHeads: headDim % 2 ? 2 : 4, causal };
  const qkv = floats(4, [batch, time, (spec.heads + 2 * spec.kvHeads) * headDim], 1.5);
  return {
    name: `attention ${batch}x${time}x${headDim}${causal ? ", causal" : ""}${segmented ? ", segments" : ""}`,
    inputs: segmented ? [qkv, segments(batch, time)] : [qkv],
    operation: ([x, runs]) =>
      attention(x as tf.Tensor3D, { ...spec, segments: runs as tf.Tensor2D | undefined }),
  };
});

const linearCases = (["gelu", "geluTanh", "silu", "relu", undefined] as const).flatMap(
  (activation): Case[] => [
    {
      name: `linear with ${activation ?? "no activation"}, bias and residual`,
      inputs: [floats(1, [2, 5, 9]), floats(2, [9, 70]), floats(3, [70]), floats(4, [2, 5, 70])],
      operation: ([x, weight, bias, residual]) =>
        linear(x!, weight!, { bias, activation, residual: residual! }),
    },
    {
      name: `linear with ${activation ?? "no activation"} and bias`,
      inputs: [floats(1, [75, 8]), floats(2, [8, 132]), floats(3, [132])],
      operation: ([x, weight, bias]) => linear(x!, weight!, { bias, activation }),
    },
    {
      name: `linear with ${activation ?? "no activation"}, transposed weight`,
      inputs: [floats(1, [9, 40], 0.5), floats(2, [77, 40], 0.5)],
      operation: ([x, weight]) => linear(x!, weight!, { activation, transposeWeight: true }),
    },
  ],
);
const layerCases: Case[] = [
  {
    name: "rope at far positions",
    inputs: [floats(1, [3, 7, (9 + 2 * 3) * 18]), ints(2, [3, 7], 5000)],
    operation: ([x, positions]) =>
      rope(x as tf.Tensor3D, { heads: 9, kvHeads: 3, theta: 10000, positions: positions as tf.Tensor2D }),
  },
  { name: "swiglu", inputs: [floats(1, [13, 94], 3)], operation: ([x]) => swiglu(x!) },
  { name: "swiglu of whole vectors", inputs: [floats(1, [3, 88], 3)], operation: ([x]) => swiglu(x!) },
  ...[
    { vocab: 50, width: 130, tokens: [4, 60] },
    { vocab: 200, width: 1028, tokens: [300] },
    { vocab: 1, width: 1, tokens: [70] },
    { vocab: 3, width: 5, tokens: [1] },
  ].map(
    ({ vocab, width, tokens }): Case => ({
      name: `embed ${tokens} tokens of ${vocab}x${width}`,
      inputs: [floats(1, [vocab, width]), ints(2, tokens, vocab)],
      operation: ([weight, ids]) => embed(weight!, ids!),
    }),
  ),
];

const cases: Case[] = [...layerCases, ...linearCases, ...attentionCases, ...normCases, ...logProbCases];

describe.skipIf(!hasDevice())("as on cpu", () => {
  it.each(cases)("$name", async ({ inputs, operation }) => {
    const expected = await runOn("cpu", inputs, withGradients(operation));
    const actual = await runOn("cuda", inputs, withGradients(operation));
    expectClose(actual, expected, 1e-5);
  });

  it("log-probs from hidden states, in several chunks of the vocabulary", async () => {
    const inputs = [floats(1, [9, 5]), floats(2, [300, 5]), ints(3, [9], 300)];
    const operation = ([hidden, unembedding, ids]: tf.Tensor[]) => {
      const found = linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D);
      return tf.add(found.logProbs, tf.mul(found.entropy, 0.1));
    };
    const expected = await runOn("cpu", inputs, withGradients(operation));
    const usual = chunking.logits;
    chunking.logits = 9 * 130;
    const actual = await runOn("cuda", inputs, withGradients(operation));
    chunking.logits = usual;
    expectClose(actual, expected, 1e-5);
  });

  it("logits of −∞ count nothing", async () => {
    const values = floats(1, [4, 300], 3).values.map((value, i) => (i % 3 === 0 ? -Infinity : value));
    const inputs = [{ values, shape: [4, 300] }, ints(2, [4], 1)];
    const operation = ([logits, ids]: tf.Tensor[]) => [
      tokenLogProbs(logits!, tf.add(ids!, tf.scalar(1, "int32"))),
    ];
    expectClose(await runOn("cuda", inputs, operation), await runOn("cpu", inputs, operation), 1e-5);
  });

  it.each([{}, { topK: 1 }, { topK: 17 }, { topP: 0.8 }, { topK: 30, topP: 0.5 }, { topK: 1000 }])(
    "samples the same tokens with %o",
    async (options) => {
      const draws: Raw = { values: uniforms(key(5), 30), shape: [30] };
      const operation = ([logits, numbers]: tf.Tensor[]) => {
        const cut = { temperature: 0.9, ...options };
        const { ids, logProbs } = sample(logits as tf.Tensor2D, numbers as tf.Tensor1D, cut);
        return [ids, logProbs];
      };
      const inputs = [floats(1, [30, 301], 4), draws];
      const [actual, expected] = [
        await runOn("cuda", inputs, operation),
        await runOn("cpu", inputs, operation),
      ];
      expect([...(actual[0] as Int32Array)]).toEqual([...(expected[0] as Int32Array)]);
      expectClose(actual, expected, 1e-5);
    },
  );

  it("never samples a token of probability 0, at either end", async () => {
    await useBackend("cuda");
    const row = [-200, 0, -Infinity, 0, -200];
    const { ids } = sample(tf.tensor2d([row, row]), tf.tensor1d([0, 1 - 2 ** -24]), { temperature: 1 });
    expect([...(await ids.data())]).toEqual([1, 3]);
  });

  it("embeds an id that is none as NaN, and gives it no gradient", async () => {
    await useBackend("cuda");
    const weight = tf.ones([3, 2]);
    const ids = tf.tensor1d([-1, 2, 3], "int32");
    const rows = await embed(weight, ids).data();
    expect([...rows]).toEqual([Number.NaN, Number.NaN, 1, 1, Number.NaN, Number.NaN]);
    const gradient = tf.grad((x: tf.Tensor) => embed(x, ids))(weight, tf.ones([3, 2]));
    expect([...(await gradient.data())]).toEqual([0, 0, 0, 0, 1, 1]);
  });

  it("global norm of tensors of all sizes", async () => {
    const inputs = [1, 7, 40_000, 300].map((size, i) => floats(i, [size]));
    const operation = (tensors: tf.Tensor[]) => globalNorm(Object.fromEntries(tensors.entries()));
    expectClose(await runOn("cuda", inputs, operation), await runOn("cpu", inputs, operation), 1e-6);
  });

  it("adds into a sum, and into a copy where the sum has another owner", async () => {
    const inputs = [floats(1, [7, 3]), floats(2, [7, 3])];
    const operation = ([a, b]: tf.Tensor[]) => {
      const own = addInto(tf.add(a!, 1), tf.clone(b!));
      return [own, addInto(tf.clone(a!), tf.clone(b!)), tf.clone(a!)];
    };
    expectClose(await runOn("cuda", inputs, operation), await runOn("cpu", inputs, operation), 1e-6);
  });

  it.each([undefined, 0.3])("AdamW in place, gradients scaled by %s; clones stay", async (scale) => {
    const shapes = [[3, 70], [1], [5130]];
    const inputs = [1, 2].flatMap((seed) => shapes.map((shape, i) => floats(10 * seed + i, shape)));
    const operation = (tensors: tf.Tensor[]) => {
      const named = (list: tf.Tensor[]) => Object.fromEntries(list.map((x, i) => [`p${i}`, tf.variable(x)]));
      const params = named(tensors.slice(0, 3));
      const grads = Object.fromEntries(tensors.slice(3).map((x, i) => [`p${i}`, x]));
      const zeros = () => named(tensors.slice(0, 3).map((x) => tf.zerosLike(x)));
      const [firstMoments, secondMoments, clone] = [zeros(), zeros(), tf.clone(params.p0!)];
      const hyper = { learningRate: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };
      for (const step of [1, 2]) {
        adamwStep({
          params,
          grads,
          firstMoments,
          secondMoments,
          ...hyper,
          step,
          weightDecay: (name) => (name === "p0" ? 0.1 : 0),
          gradScale: scale === undefined ? undefined : tf.scalar(scale),
        });
      }
      const all = [params, firstMoments, secondMoments].flatMap((named) => Object.values(named));
      const results = [...all.map((x) => tf.add(x, 0)), clone];
      tf.dispose(all);
      return results;
    };
    const actual = await runOn("cuda", inputs, operation);
    expect(hasFusedKernel("RlhfAdamw")).toBe(true);
    expectClose(actual, await runOn("cpu", inputs, operation), 1e-6);
  });
});
