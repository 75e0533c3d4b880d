/** Values and gradients of the fused operations against their composed form on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { integers, key, uniforms } from "../core/random.ts";
import { adamwStep } from "../tensor/adamw_step.ts";
import { addInto } from "../tensor/add_into.ts";
import { attention } from "../tensor/attention.ts";
import { useBackend } from "../tensor/backend.ts";
import { embed } from "../tensor/embed.ts";
import { hasFusedKernel } from "../tensor/fused_kernels.ts";
import { globalNorm } from "../tensor/global_norm.ts";
import { layerNorm } from "../tensor/layer_norm.ts";
import { linear } from "../tensor/linear.ts";
import { linearTokenLogProbs } from "../tensor/linear_token_log_probs.ts";
import { rmsNorm } from "../tensor/rms_norm.ts";
import { rope } from "../tensor/rope.ts";
import { sample } from "../tensor/sample.ts";
import { swiglu } from "../tensor/swiglu.ts";
import { tokenLogProbs } from "../tensor/token_log_probs.ts";
import type { WebGpuBackend } from "./mod.ts";
import { expectClose, floats, ints, type Raw, runOn, withGradients } from "./testing/numbers.ts";
import { hasAdapter } from "./testing/software_adapter.ts";

interface Case {
  readonly name: string;
  readonly inputs: ReadonlyArray<Raw>;
  readonly operation: (inputs: tf.Tensor[]) => tf.Tensor;
}

const normCases = [
  [130, 64],
  [7, 1],
  [1, 333],
  [65, 100],
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
/** Few shapes, and several cases for each: a software adapter takes seconds to compile a program. */
const attentionCases = [
  { batch: 1, time: 37, headDim: 5, causal: true },
  { batch: 1, time: 64, headDim: 5, causal: true },
  { batch: 2, time: 19, headDim: 5, causal: false, segmented: true },
  { batch: 2, time: 1, headDim: 5, causal: true, segmented: true },
  { batch: 1, time: 11, headDim: 5, causal: true, segmented: true },
  { batch: 1, time: 11, headDim: 130, causal: true },
].map(({ batch, time, headDim, causal, segmented }): Case => {
  const spec = { heads: 4, kvHeads: headDim === 5 ? 2 : 4, causal };
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
      name: `linear with ${activation ?? "no activation"}, transposed weight`,
      inputs: [floats(1, [9, 40], 0.5), floats(2, [77, 40], 0.5)],
      operation: ([x, weight]) => linear(x!, weight!, { activation, transposeWeight: true }),
    },
  ],
);
const layerCases: Case[] = [
  {
    name: "rope at far positions",
    inputs: [floats(1, [3, 7, (4 + 2 * 2) * 18]), ints(2, [3, 7], 5000)],
    operation: ([x, positions]) =>
      rope(x as tf.Tensor3D, { heads: 4, kvHeads: 2, theta: 10000, positions: positions as tf.Tensor2D }),
  },
  { name: "swiglu", inputs: [floats(1, [13, 94], 3)], operation: ([x]) => swiglu(x!) },
  {
    name: "embed",
    inputs: [floats(1, [50, 130]), ints(2, [4, 60], 50)],
    operation: ([weight, ids]) => embed(weight!, ids!),
  },
];

const cases: Case[] = [...layerCases, ...linearCases, ...attentionCases, ...normCases, ...logProbCases];

describe.skipIf(!(await hasAdapter()))("as on cpu", () => {
  it.each(cases)("$name", async ({ inputs, operation }) => {
    const expected = await runOn("cpu", inputs, withGradients(operation));
    const actual = await runOn("webgpu", inputs, withGradients(operation));
    expectClose(actual, expected, 1e-5);
  });

  it("log-probs from hidden states, in several chunks of the vocabulary", async () => {
    const inputs = [floats(1, [9, 5]), floats(2, [150, 5]), ints(3, [9], 150)];
    const operation = ([hidden, unembedding, ids]: tf.Tensor[]) =>
      linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D).logProbs;
    const expected = await runOn("cpu", inputs, withGradients(operation));
    await useBackend("webgpu");
    const backend = tf.backend() as WebGpuBackend;
    const usual = backend.logitsPerChunk;
    backend.logitsPerChunk = 9 * 64;
    const actual = await runOn("webgpu", inputs, withGradients(operation));
    backend.logitsPerChunk = usual;
    expectClose(actual, expected, 1e-5);
  });

  it.each([{}, { topK: 1 }, { topK: 17 }, { topP: 0.8 }, { topK: 30, topP: 0.5 }, { topK: 1000 }])(
    "samples the same tokens with %o",
    async (options) => {
      const draws: Raw = { values: uniforms(key(5), 60), shape: [60] };
      const operation = ([logits, numbers]: tf.Tensor[]) => {
        const cut = { temperature: 0.9, ...options };
        const { ids, logProbs } = sample(logits as tf.Tensor2D, numbers as tf.Tensor1D, cut);
        return [ids, logProbs];
      };
      const inputs = [floats(1, [60, 301], 4), draws];
      const [actual, expected] = [
        await runOn("webgpu", inputs, operation),
        await runOn("cpu", inputs, operation),
      ];
      expect([...(actual[0] as Int32Array)]).toEqual([...(expected[0] as Int32Array)]);
      expectClose(actual, expected, 1e-5);
    },
  );

  it("never samples a token of probability 0, at either end", async () => {
    await useBackend("webgpu");
    const row = [-200, 0, -Infinity, 0, -200];
    const { ids } = sample(tf.tensor2d([row, row]), tf.tensor1d([0, 1 - 2 ** -24]), { temperature: 1 });
    expect([...(await ids.data())]).toEqual([1, 3]);
  });

  it("global norm of tensors of all sizes", async () => {
    const inputs = [1, 7, 40_000, 300].map((size, i) => floats(i, [size]));
    const operation = (tensors: tf.Tensor[]) => globalNorm(Object.fromEntries(tensors.entries()));
    expectClose(await runOn("webgpu", inputs, operation), await runOn("cpu", inputs, operation), 1e-6);
  });

  it("sums of more tensors than a program can bind", async () => {
    const inputs = Array.from({ length: 20 }, (_, i) => floats(i, [7, 9]));
    const operation = (tensors: tf.Tensor[]) => tf.addN(tensors);
    expectClose(await runOn("webgpu", inputs, operation), await runOn("cpu", inputs, operation), 1e-5);
  });

  it("adds to a sum in its memory, unless a clone has that too", async () => {
    const inputs = [1, 2, 3].map((seed) => floats(seed, [300]));
    const operation = (tensors: tf.Tensor[]) => {
      const [a, b, c] = tensors.map((tensor) => tf.mul(tensor, 1)) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const before = tf.clone(a);
      const shared = addInto(a, tf.clone(b));
      return [addInto(tf.mul(shared, 1), c), before, shared, b];
    };
    const actual = await runOn("webgpu", inputs, operation);
    expect(hasFusedKernel("RlhfAddInto")).toBe(true);
    expectClose(actual, await runOn("cpu", inputs, operation), 1e-6);
  });

  it.each([undefined, 0.3])("AdamW in place, gradients scaled by %s; clones stay", async (scale) => {
    const shapes = [[3, 70], [1], [513]];
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
    const actual = await runOn("webgpu", inputs, operation);
    expect(hasFusedKernel("RlhfAdamw")).toBe(true);
    expectClose(actual, await runOn("cpu", inputs, operation), 1e-6);
  });
});
