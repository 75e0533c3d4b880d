/**
 * The fused kernels through the operations of `@rlhf/tensor`, values and gradients, against the composed form of those
 * operations on the stock cpu backend, at sizes that reach every path of the kernels.
 */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { attention } from "../tensor/attention.ts";
import { createKvCache, decodeStep } from "../tensor/decode_step.ts";
import type { Activation, DecoderSpec } from "../tensor/decoder.ts";
import { embed } from "../tensor/embed.ts";
import { layerNorm } from "../tensor/layer_norm.ts";
import { linear } from "../tensor/linear.ts";
import { linearTokenLogProbs } from "../tensor/linear_token_log_probs.ts";
import { rmsNorm } from "../tensor/rms_norm.ts";
import { rope } from "../tensor/rope.ts";
import { sample } from "../tensor/sample.ts";
import { swiglu } from "../tensor/swiglu.ts";
import { tokenLogProbs } from "../tensor/token_log_probs.ts";
import { loadAddon } from "./addon.ts";
import { register } from "./mod.ts";
import {
  describeInstructionSets,
  expectClose,
  floats,
  ints,
  RandomSource,
  type Raw,
  runOn,
  sizeOf,
} from "./testing/numbers.ts";

beforeAll(() => {
  register();
  (tf.findBackend("cpu") as unknown as { firstUse: boolean }).firstUse = false;
});

type Operation = (inputs: tf.Tensor[]) => tf.Tensor;
interface Case {
  readonly name: string;
  readonly inputs: Raw[];
  readonly operation: Operation;
}

/** The value and the gradients of Σ w·f for a fixed random w, by the inputs of type float32. */
const valueAndGradients =
  (operation: Operation, weightSeed: number) =>
  (tensors: tf.Tensor[]): tf.Tensor[] => {
    const variable = tensors.filter(({ dtype }) => dtype === "float32");
    const all = (given: tf.Tensor[]) => {
      let next = 0;
      return tensors.map((tensor) => (tensor.dtype === "float32" ? given[next++]! : tensor));
    };
    const y = operation(tensors);
    const weights = tf.tensor(new RandomSource(weightSeed).floats(sizeOf(y.shape)), y.shape);
    return [y, ...tf.grads((...given) => operation(all(given)))(variable, weights)];
  };

const source = new RandomSource(11);
const linearCases = (["gelu", "geluTanh", "silu", "relu", undefined] as const).flatMap(
  (activation: Activation | undefined): Case[] => [
    {
      name: `linear with ${activation ?? "no activation"}, bias and residual, 70x300x95`,
      inputs: [[70, 300], [300, 95], [95], [70, 95]].map((shape) => floats(source, shape, 0.5)),
      operation: ([x, weight, bias, residual]) =>
        linear(x!, weight!, { bias, activation, residual: residual! }),
    },
    {
      name: `linear with ${activation ?? "no activation"}, transposed weight, few rows`,
      inputs: [
        [9, 40],
        [77, 40],
      ].map((shape) => floats(source, shape, 0.5)),
      operation: ([x, weight]) => linear(x!, weight!, { activation, transposeWeight: true }),
    },
  ],
);
const normCases = [
  [130, 64],
  [7, 1],
  [1, 333],
  [65, 100],
].flatMap(([rows, width]): Case[] => [
  {
    name: `layer norm ${rows}x${width}`,
    inputs: [[rows!, width!], [width!], [width!]].map((shape) => floats(source, shape, 2)),
    operation: ([x, gain, bias]) => layerNorm(x!, gain!, bias!),
  },
  {
    name: `rms norm ${rows}x${width}`,
    inputs: [[rows!, width!], [width!]].map((shape) => floats(source, shape, 2)),
    operation: ([x, gain]) => rmsNorm(x!, gain!),
  },
]);

/** Runs of several lengths, with padding at the end and sometimes at the front. */
const segments = (batch: number, time: number): Raw => {
  const values = new Int32Array(batch * time);
  for (let b = 0; b < batch; b++) {
    let at = b % 2 === 0 ? 0 : source.integer(4);
    for (let segment = 1; at < time - source.integer(5); segment++) {
      const end = Math.min(time, at + 1 + source.integer(time));
      values.fill(segment, b * time + at, b * time + end);
      at = end;
    }
  }
  return { values, shape: [batch, time], dtype: "int32" };
};
const attentionCases = (
  [
    [2, 150, 2, 2, 16],
    [3, 65, 6, 2, 5],
    [1, 64, 4, 1, 33],
    [2, 1, 1, 1, 1],
    [1, 200, 1, 1, 64],
  ] as const
).flatMap(([batch, time, heads, kvHeads, headDim]): Case[] => {
  const qkv = floats(source, [batch, time, (heads + 2 * kvHeads) * headDim], 1.5);
  const shape = `${batch}x${time}, ${heads}/${kvHeads} heads of ${headDim}`;
  const operation =
    (causal: boolean): Operation =>
    ([x, runs]) =>
      attention(x as tf.Tensor3D, { heads, kvHeads, causal, segments: runs as tf.Tensor2D | undefined });
  return [true, false].flatMap((causal) => [
    { name: `attention ${shape}, causal ${causal}`, inputs: [qkv], operation: operation(causal) },
    {
      name: `attention ${shape}, causal ${causal}, segments`,
      inputs: [qkv, segments(batch, time)],
      operation: operation(causal),
    },
  ]);
});
const otherCases: Case[] = [
  {
    name: "rope",
    inputs: [floats(source, [3, 70, (4 + 2 * 2) * 18]), ints(source, [3, 70], 2000)],
    operation: ([x, positions]) =>
      rope(x as tf.Tensor3D, { heads: 4, kvHeads: 2, theta: 10000, positions: positions as tf.Tensor2D }),
  },
  { name: "swiglu", inputs: [floats(source, [130, 94], 3)], operation: ([x]) => swiglu(x!) },
  {
    name: "embed",
    inputs: [floats(source, [50, 130]), ints(source, [4, 60], 50)],
    operation: ([weight, ids]) => embed(weight!, ids!),
  },
  {
    name: "token log-probs",
    inputs: [floats(source, [75, 1003], 5), ints(source, [75], 1003)],
    operation: ([logits, ids]) => tokenLogProbs(logits!, ids!, { temperature: 0.7 }),
  },
  {
    name: "linear token log-probs",
    inputs: [floats(source, [90, 33]), floats(source, [517, 33]), ints(source, [90], 517)],
    operation: ([hidden, unembedding, ids]) =>
      linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D, { temperature: 1.3 })
        .logProbs,
  },
  {
    name: "entropy",
    inputs: [floats(source, [90, 33]), floats(source, [517, 33]), ints(source, [90], 517)],
    operation: ([hidden, unembedding, ids]) =>
      tf.add(
        linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D).entropy,
        tf.mul(tf.sum(tf.mul(hidden!, 0)), tf.sum(tf.mul(unembedding!, 0))),
      ),
  },
];

describeInstructionSets(() => {
  for (const { name, inputs, operation } of [
    ...linearCases,
    ...normCases,
    ...attentionCases,
    ...otherCases,
  ]) {
    it(name, async () => {
      const run = valueAndGradients(operation, 5);
      const expected = await runOn("cpu", inputs, run);
      const actual = await runOn("native", inputs, run);
      for (const [i, output] of actual.entries()) expectClose(output, expected[i]!, 2e-5);
    });
  }

  it("sampling takes the token that the composed form takes", async () => {
    const logits = floats(source, [60, 301], 4);
    const uniforms: Raw = {
      values: source
        .floats(60)
        .map(Math.abs)
        .map((x) => x % 1),
      shape: [60],
      dtype: "float32",
    };
    for (const options of [
      {},
      { topK: 1 },
      { topK: 17 },
      { topP: 0.8 },
      { topK: 30, topP: 0.5 },
      { topK: 1000 },
    ]) {
      const run = ([z, u]: tf.Tensor[]) => {
        const { ids, logProbs } = sample(z as tf.Tensor2D, u as tf.Tensor1D, {
          temperature: 0.9,
          ...options,
        });
        return [ids, logProbs];
      };
      const [expected, actual] = [
        await runOn("cpu", [logits, uniforms], run),
        await runOn("native", [logits, uniforms], run),
      ];
      expect(actual[0]!.values).toEqual(expected[0]!.values);
      expectClose(actual[1]!, expected[1]!, 1e-5);
    }
  });
});

describe("decoding", () => {
  const specs: Record<string, DecoderSpec> = {
    "GPT-2": { heads: 4, kvHeads: 4, headDim: 9, norm: "layer", epsilon: 1e-5, activation: "geluTanh" },
    Llama: {
      heads: 4,
      kvHeads: 2,
      headDim: 10,
      norm: "rms",
      epsilon: 1e-6,
      activation: "swiglu",
      ropeTheta: 10000,
    },
  };
  for (const [name, spec] of Object.entries(specs)) {
    it(`${name}: prompts of several lengths, then single tokens`, async () => {
      const [vocab, width, hidden, layers, context] = [61, 36, 50, 2, 40];
      const qkv = (spec.heads + 2 * spec.kvHeads) * spec.headDim;
      const up = spec.activation === "swiglu" ? 2 * hidden : hidden;
      const inner = new RandomSource(3);
      const raws: Raw[] = [];
      const weight = (...shape: number[]) => {
        raws.push(floats(inner, shape, 0.3));
        return raws.length - 1;
      };
      const norm = () => ({ gain: weight(width), bias: spec.norm === "layer" ? weight(width) : undefined });
      const affine = (rows: number, columns: number) => ({
        weight: weight(rows, columns),
        bias: spec.norm === "layer" ? weight(columns) : undefined,
      });
      const plan = {
        tokenEmbedding: weight(vocab, width),
        positionEmbedding: spec.ropeTheta ? undefined : weight(context, width),
        blocks: Array.from({ length: layers }, () => ({
          attentionNorm: norm(),
          qkv: affine(width, qkv),
          attentionOut: affine(spec.heads * spec.headDim, width),
          feedForwardNorm: norm(),
          up: affine(width, up),
          down: affine(hidden, width),
        })),
        finalNorm: norm(),
        unembedding: weight(vocab, width),
      };
      // Three sequences: a prompt of 21 tokens, one of 3, and later one in the slot of the second.
      const steps = [
        { lengths: [21, 3], starts: [0, 0], slots: [0, 2] },
        { lengths: [1, 1], starts: [21, 3], slots: [0, 2] },
        { lengths: [1, 18], starts: [22, 0], slots: [0, 2] },
        { lengths: [1, 1], starts: [23, 18], slots: [0, 2] },
      ].map(({ lengths, starts, slots }) => {
        const rows = lengths.flatMap((length, i) =>
          Array.from({ length }, (_, j) => ({ slot: slots[i]!, position: starts[i]! + j })),
        );
        return {
          ids: inner.integers(rows.length, vocab),
          slots: Int32Array.from(rows, ({ slot }) => slot),
          positions: Int32Array.from(rows, ({ position }) => position),
          outputRows: Int32Array.from([lengths[0]! - 1, rows.length - 1]),
        };
      });
      const run = (tensors: tf.Tensor[]) => {
        const at = (index: number | undefined) => (index === undefined ? undefined : tensors[index]!);
        const place = (value: unknown): unknown =>
          typeof value === "number" || value === undefined
            ? at(value as number | undefined)
            : Array.isArray(value)
              ? value.map(place)
              : Object.fromEntries(
                  Object.entries(value as object).map(([key, inside]) => [key, place(inside)]),
                );
        const weights = place(plan) as Parameters<typeof decodeStep>[0]["weights"];
        const cache = createKvCache(spec, { layers, slots: 3, length: context });
        const logits = steps.map((step) => decodeStep({ spec, weights, cache, ...step }));
        cache.dispose();
        return logits;
      };
      const expected = await runOn("cpu", raws, run);
      const actual = await runOn("native", raws, run);
      for (const [i, output] of actual.entries()) expectClose(output, expected[i]!, 1e-4);
    });
  }
});

it("gives the same bits with any number of threads", async () => {
  const { addon, threads } = loadAddon();
  try {
    for (const { inputs, operation } of [linearCases[0]!, normCases[0]!, attentionCases[1]!, ...otherCases]) {
      const run = valueAndGradients(operation, 6);
      addon.configure(-1, 1);
      const expected = await runOn("native", inputs, run);
      for (const count of [2, 3, 7]) {
        addon.configure(-1, count);
        const actual = await runOn("native", inputs, run);
        for (const [i, { values }] of actual.entries()) expect(values).toEqual(expected[i]!.values);
      }
    }
  } finally {
    addon.configure(-1, threads);
  }
});
