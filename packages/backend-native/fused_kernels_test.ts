/**
 * The fused kernels through the operations of `@rlhf/tensor`, values and gradients, against the composed form of those
 * operations on the stock cpu backend, at sizes that reach every path of the kernels.
 */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
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
  runNative,
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
  const cases = [...linearCases, ...normCases, ...attentionCases, ...otherCases];
  for (const { name, inputs, operation } of cases) {
    it(name, async () => {
      const run = valueAndGradients(operation, 5);
      const expected = await runOn("cpu", inputs, run);
      const actual = await runNative(inputs, run);
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
        await runNative([logits, uniforms], run),
      ];
      expect(actual[0]!.values).toEqual(expected[0]!.values);
      expectClose(actual[1]!, expected[1]!, 1e-5);
    }
  });

  it("directional derivatives are the finite differences", async () => {
    for (const { name, inputs, operation } of cases) {
      // Differences reach across the kink of ReLU, and an entropy carries no gradient.
      if (/relu|entropy/.test(name)) continue;
      const random = new RandomSource(21);
      const directions = inputs.map(({ values, dtype }) =>
        random.floats(dtype === "float32" ? values.length : 0),
      );
      const weightSeed = 5;
      const [value, ...gradients] = await runNative(inputs, valueAndGradients(operation, weightSeed));
      const step = 1e-3;
      const moved = (sign: number) =>
        inputs.map((raw, i) =>
          raw.dtype === "float32"
            ? {
                ...raw,
                values: Float32Array.from(raw.values, (x, j) => x + sign * step * directions[i]![j]!),
              }
            : raw,
        );
      const outputAt = async (sign: number) => (await runNative(moved(sign), operation))[0]!.values;
      const [ahead, behind] = [await outputAt(1), await outputAt(-1)];
      const weights = new RandomSource(weightSeed).floats(value!.values.length);
      const terms = Array.from(weights, (w, i) => (w * (ahead[i]! - behind[i]!)) / (2 * step));
      const numeric = terms.reduce((sum, term) => sum + term, 0);
      const used = directions.filter((_, i) => inputs[i]!.dtype === "float32");
      const analytic = gradients
        .flatMap(({ values }, i) => Array.from(values, (g, j) => g * used[i]![j]!))
        .reduce((sum, term) => sum + term, 0);
      const error = Math.abs(numeric - analytic) / Math.hypot(...terms, 1e-3);
      if (!(error < 1e-2)) throw new Error(`${name}: ${numeric} by differences, ${analytic} by the kernel`);
    }
  });

  it("NaN and infinities in a row reach what the composed form lets them reach", async () => {
    const rowwise = [...linearCases, ...normCases].concat(
      otherCases.filter(({ name }) => /swiglu|token log-probs/.test(name)),
    );
    for (const { inputs, operation } of rowwise) {
      for (const special of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const values = inputs[0]!.values.slice();
        values[values.length - 1] = special;
        const given = [{ ...inputs[0]!, values }, ...inputs.slice(1)];
        const [expected, actual] = [await runOn("cpu", given, operation), await runNative(given, operation)];
        expectClose(actual[0]!, expected[0]!, 2e-5);
      }
    }
  });

  it("NaN in a token reaches the tokens that see it, and no other", async () => {
    const [time, heads, width] = [70, 2, 6];
    const qkv = floats(source, [2, time, 3 * width]);
    const runs = Int32Array.from({ length: 2 * time }, (_, i) => (i % time < 40 ? 1 : 2));
    const run = ([x, segments]: tf.Tensor[]) =>
      attention(x as tf.Tensor3D, { heads, kvHeads: heads, causal: true, segments: segments as tf.Tensor2D });
    const values = qkv.values.slice();
    values[15 * 3 * width + width] = Number.NaN; // a key of the first head at time 15 of the first row
    const segments: Raw = { values: runs, shape: [2, time], dtype: "int32" };
    const [clean] = await runNative([qkv, segments], run);
    const [output] = await runNative([{ ...qkv, values }, segments], run);
    output!.values.forEach((y, i) => {
      const [row, head] = [Math.floor(i / width), Math.floor((i % width) / (width / heads))];
      if (row >= 15 && row < 40 && head === 0) expect(y).toBeNaN();
      else expect(y).toBe(clean!.values[i]);
    });
  });

  it("logits of −∞ have no probability", async () => {
    const logits = floats(source, [30, 130], 3);
    const values = logits.values.map((z, i) => (i % 130 === 7 || source.uniform() < 0.5 ? z : -Infinity));
    const ids: Raw = { values: new Int32Array(30).fill(7), shape: [30], dtype: "int32" };
    const masked = { ...logits, values: values as Float32Array };
    const run = valueAndGradients(([z, id]) => tokenLogProbs(z!, id!), 5);
    const [expected, actual] = [await runOn("cpu", [masked, ids], run), await runNative([masked, ids], run)];
    for (const [i, output] of actual.entries()) expectClose(output, expected[i]!, 2e-5);
    expect(actual[1]!.values.every(Number.isFinite)).toBe(true);
    const uniforms: Raw = {
      values: Float32Array.from({ length: 30 }, (_, i) => i / 30),
      shape: [30],
      dtype: "float32",
    };
    for (const options of [{}, { topP: 0.9 }, { topK: 100 }]) {
      const [chosen] = await runNative([masked, uniforms], ([z, u]) => {
        return sample(z as tf.Tensor2D, u as tf.Tensor1D, { temperature: 1, ...options }).ids;
      });
      chosen!.values.forEach((id, row) => {
        expect(values[row * 130 + id]).toBeGreaterThan(-Infinity);
      });
    }
  });

  it("takes tensors without elements", async () => {
    const empty = (...shape: number[]) => floats(source, shape);
    const none = (...shape: number[]) => ints(source, shape, 1);
    const emptyCases: Case[] = [
      {
        name: "linear",
        inputs: [empty(0, 5), empty(5, 3), empty(3), empty(0, 3)],
        operation: ([x, weight, bias, residual]) =>
          linear(x!, weight!, { bias, activation: "gelu", residual: residual! }),
      },
      {
        name: "layer norm",
        inputs: [empty(0, 5), empty(5), empty(5)],
        operation: ([x, gain, bias]) => layerNorm(x!, gain!, bias!),
      },
      { name: "rms norm", inputs: [empty(0, 5), empty(5)], operation: ([x, gain]) => rmsNorm(x!, gain!) },
      { name: "swiglu", inputs: [empty(0, 6)], operation: ([x]) => swiglu(x!) },
      { name: "embed", inputs: [empty(4, 3), none(0)], operation: ([weight, ids]) => embed(weight!, ids!) },
      {
        name: "attention",
        inputs: [empty(0, 4, 6)],
        operation: ([x]) => attention(x as tf.Tensor3D, { heads: 1, kvHeads: 1, causal: true }),
      },
      {
        name: "rope",
        inputs: [empty(0, 4, 6), none(0, 4)],
        operation: ([x, positions]) =>
          rope(x as tf.Tensor3D, { heads: 1, kvHeads: 1, theta: 1e4, positions: positions as tf.Tensor2D }),
      },
      {
        name: "token log-probs",
        inputs: [empty(0, 7), none(0)],
        operation: ([logits, ids]) => tokenLogProbs(logits!, ids!),
      },
      {
        name: "linear token log-probs",
        inputs: [empty(0, 3), empty(7, 3), none(0)],
        operation: ([hidden, unembedding, ids]) =>
          linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D).logProbs,
      },
    ];
    for (const { inputs, operation } of emptyCases) {
      const outputs = await runNative(inputs, valueAndGradients(operation, 5));
      const shapes = inputs.filter(({ dtype }) => dtype === "float32").map(({ shape }) => shape);
      expect(outputs.slice(1).map(({ shape }) => shape)).toEqual(shapes);
      for (const { values } of outputs) expect(values.every((x) => x === 0)).toBe(true);
    }
  });

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
    it(`${name} decodes prompts of several lengths, then single tokens`, async () => {
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
      const actual = await runNative(raws, run);
      for (const [i, output] of actual.entries()) expectClose(output, expected[i]!, 1e-4);
    });
  }
});

it("gives the same bits with more threads than processors", async () => {
  const { addon, threads } = loadAddon();
  try {
    for (const { inputs, operation } of [linearCases[0]!, normCases[0]!, attentionCases[1]!, ...otherCases]) {
      const run = valueAndGradients(operation, 6);
      addon.configure(-1, 1, true);
      const expected = await runOn("native", inputs, run);
      for (const count of [3, 7]) {
        addon.configure(-1, count, true);
        const actual = await runOn("native", inputs, run);
        for (const [i, { values }] of actual.entries()) expect(values).toEqual(expected[i]!.values);
      }
    }
  } finally {
    addon.configure(-1, threads, false);
  }
});
