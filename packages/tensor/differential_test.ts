/**
 * Every operation on every backend of this machine against the composed form on the cpu backend: values, gradients
 * by finite differences, and tensors left behind.
 */
import { integers, key, uniforms } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { adamwStep } from "./adamw_step.ts";
import { attention } from "./attention.ts";
import { useBackend } from "./backend.ts";
import { embed } from "./embed.ts";
import { clipByGlobalNorm, globalNorm } from "./global_norm.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { linearTokenLogProbs } from "./linear_token_log_probs.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { sample } from "./sample.ts";
import { swiglu } from "./swiglu.ts";
import { emptyCases } from "./testing/layer_cases.ts";
import { availableBackends, difference, expectFiniteDifferences, randomNumbers } from "./testing/numbers.ts";
import { expectClose, runOn, withGradients } from "./testing/run_on.ts";
import { tokenLogProbs } from "./token_log_probs.ts";
import { valueAndGrads } from "./value_and_grads.ts";

type Operation = (inputs: tf.Tensor[]) => tf.Tensor;
/** Its name, the shapes of its differentiable inputs, and the operation. */
type Case = readonly [name: string, shapes: number[][], operation: Operation];

const ids = (seed: number, shape: number[], below: number) =>
  tf.tensor(
    integers(
      key(seed),
      shape.reduce((a, b) => a * b, 1),
      below,
    ),
    shape,
    "int32",
  );

const linearCases: Case[] = [
  [1, 1, 1],
  [3, 5, 7],
  [13, 16, 33],
  [2, 64, 3],
  [65, 17, 48],
].flatMap(([rows, size, out]): Case[] => [
  [
    `linear ${rows}x${size}x${out}`,
    [
      [rows!, size!],
      [size!, out!],
    ],
    ([x, w]) => linear(x!, w!),
  ],
  [
    `linear ${rows}x${size}x${out}, transposed weight and bias`,
    [[rows!, size!], [out!, size!], [out!]],
    ([x, w, bias]) => linear(x!, w!, { bias, transposeWeight: true }),
  ],
]);
const activationCases = (["gelu", "geluTanh", "silu", "relu"] as const).flatMap((activation): Case[] => [
  [
    `linear with ${activation}, bias and residual`,
    [[2, 3, 5], [5, 7], [7], [2, 3, 7]],
    ([x, w, bias, residual]) => linear(x!, w!, { bias, activation, residual: residual! }),
  ],
  [
    `linear with ${activation} alone`,
    [
      [1, 9],
      [3, 9],
    ],
    ([x, w]) => linear(x!, w!, { activation, transposeWeight: true }),
  ],
]);
const normCases = [
  [1, 1],
  [3, 2],
  [2, 3, 7],
  [5, 16],
  [4, 33],
].flatMap((shape): Case[] => [
  [`layerNorm [${shape}]`, [shape, [shape.at(-1)!], [shape.at(-1)!]], ([x, g, b]) => layerNorm(x!, g!, b!)],
  [`rmsNorm [${shape}]`, [shape, [shape.at(-1)!]], ([x, g]) => rmsNorm(x!, g!)],
]);

const segmentations: Record<string, number[][] | undefined> = {
  "no segments": undefined,
  "padding behind": [
    [1, 1, 1, 0, 0],
    [1, 0, 0, 0, 0],
  ],
  "padding in front": [
    [0, 0, 1, 1, 1],
    [0, 1, 1, 1, 1],
  ],
  "packed rows": [
    [1, 1, 2, 2, 2],
    [3, 2, 2, 1, 0],
  ],
  "a row of padding alone": [
    [0, 0, 0, 0, 0],
    [1, 1, 1, 1, 1],
  ],
};
const attentionCases = Object.entries(segmentations).flatMap(([name, rows]): Case[] =>
  [
    [2, 2, 4],
    [4, 2, 3],
    [3, 1, 1],
  ].flatMap(([heads, kvHeads, size]): Case[] =>
    [true, false].map(
      (causal): Case => [
        `attention, ${heads} heads on ${kvHeads} of ${size}, ${causal ? "causal" : "full"}, ${name}`,
        [[2, 5, (heads! + 2 * kvHeads!) * size!]],
        ([qkv]) => {
          const segments = rows && tf.tensor2d(rows, undefined, "int32");
          return attention(qkv as tf.Tensor3D, { heads: heads!, kvHeads: kvHeads!, causal, segments });
        },
      ],
    ),
  ),
);
const longAttention: Case[] = [1, 37, 70].map((time) => [
  `attention over ${time} tokens`,
  [[1, time, 3 * 2 * 8]],
  ([qkv]) => attention(qkv as tf.Tensor3D, { heads: 2, kvHeads: 2, causal: true }),
]);

const cases: Case[] = [
  ...linearCases,
  ...activationCases,
  ...normCases,
  ...attentionCases,
  ...longAttention,
  ...[
    [2, 1, 4],
    [4, 2, 2],
  ].map(
    ([heads, kvHeads, size]): Case => [
      `rope, ${heads} heads on ${kvHeads} of ${size}`,
      [[2, 3, (heads! + 2 * kvHeads!) * size!]],
      ([qkv]) =>
        rope(qkv as tf.Tensor3D, {
          heads: heads!,
          kvHeads: kvHeads!,
          positions: ids(3, [2, 3], 50) as tf.Tensor2D,
          theta: 1e4,
        }),
    ],
  ),
  ["swiglu [1, 2]", [[1, 2]], ([x]) => swiglu(x!)],
  ["swiglu [2, 3, 34]", [[2, 3, 34]], ([x]) => swiglu(x!)],
  ["embed [7, 5] by [2, 6]", [[7, 5]], ([w]) => embed(w!, ids(1, [2, 6], 7))],
  ["embed [1, 1] by [3]", [[1, 1]], ([w]) => embed(w!, ids(1, [3], 1))],
  ["tokenLogProbs [1, 1]", [[1, 1]], ([z]) => tokenLogProbs(z!, ids(1, [1], 1))],
  [
    "tokenLogProbs [2, 3, 37]",
    [[2, 3, 37]],
    ([z]) => tokenLogProbs(z!, ids(1, [2, 3], 37), { temperature: 0.7 }),
  ],
  ...[
    [1, 1, 2],
    [5, 7, 33],
    [19, 8, 101],
  ].map(
    ([rows, size, vocab]): Case => [
      `linearTokenLogProbs ${rows}x${size}x${vocab}`,
      [
        [rows!, size!],
        [vocab!, size!],
      ],
      ([hidden, unembedding]) => {
        const chosen = ids(1, [rows!], vocab!) as tf.Tensor1D;
        return linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, chosen, { temperature: 1.3 })
          .logProbs;
      },
    ],
  ),
];

const sizeOf = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

/** Value and gradients of Σ w · operation(inputs) on the active backend, as plain numbers. */
const run = async ([, shapes, operation]: Case) => {
  const before = tf.memory().numTensors;
  const variables = Object.fromEntries(
    shapes.map((shape, i) => {
      const initial = tf.tensor(randomNumbers(i + 1, shape), shape);
      const variable = tf.variable(initial);
      initial.dispose();
      return [String(i), variable];
    }),
  );
  const inputs = Object.values(variables);
  const output = tf.tidy(() => operation(inputs));
  const weights = tf.tensor(randomNumbers(77, output.shape), output.shape);
  const { value, grads } = valueAndGrads(() => tf.sum(tf.mul(operation(inputs), weights)), variables);
  const numbers = {
    output: await output.data(),
    gradients: await Promise.all(Object.values(grads).map((gradient) => gradient.data())),
  };
  tf.dispose([output, weights, value, grads, inputs]);
  expect(tf.memory().numTensors).toBe(before);
  return numbers;
};

const backends = await availableBackends();

describe("the composed forms agree with finite differences", () => {
  beforeAll(() => useBackend("cpu"));
  const small = cases.filter(([, shapes]) => shapes.every((shape) => sizeOf(shape) <= 160));

  it.each(small)("%s", async (_, shapes, operation) => {
    const inputs = shapes.map((shape, i) => ({ shape, values: randomNumbers(i + 1, shape) }));
    // ReLU alone has a kink; the seeds above keep its inputs away from it.
    await expectFiniteDifferences((...xs) => tf.tidy(() => operation(xs)), inputs, {
      step: 5e-3,
      tolerance: 3e-3,
    });
  });
});

/** On wasm tfjs's own kernels cannot: a sum over nothing is whatever lay in memory. */
it.each(emptyCases)("the composed forms give nothing and take no gradient: $kernel, $name", async (empty) => {
  const [, ...gradients] = await runOn("cpu", empty.inputs, withGradients(empty.operation));
  const variable = empty.inputs.filter(({ dtype }) => dtype === "float32");
  const zeros = variable.map((raw) => ({ ...raw, values: raw.values.map(() => 0) }));
  expectClose(gradients, zeros, 0);
});

describe.each(backends.filter((name) => name !== "cpu"))("%s agrees with cpu", (backend) => {
  it.each(cases)("%s", async (...operation) => {
    await useBackend("cpu");
    const expected = await run(operation);
    await useBackend(backend);
    const actual = await run(operation);
    expect(difference(actual.output, expected.output)).toBeLessThan(5e-6);
    for (const [i, gradient] of expected.gradients.entries()) {
      expect(difference(actual.gradients[i]!, gradient), `gradient by input ${i}`).toBeLessThan(2e-5);
    }
  });
});

describe.each(backends)("on %s", (backend) => {
  beforeAll(() => useBackend(backend));

  it("entropy carries no gradient", async () => {
    const hidden = tf.variable(tf.tensor2d(randomNumbers(1, [3, 4]), [3, 4]));
    const unembedding = tf.tensor2d(randomNumbers(2, [6, 4]), [6, 4]);
    const chosen = ids(1, [3], 6) as tf.Tensor1D;
    const { grads } = valueAndGrads(
      () => tf.sum(linearTokenLogProbs(hidden as tf.Tensor2D, unembedding, chosen).entropy),
      { hidden },
    );
    expect(Math.max(...(await grads.hidden!.data()).map(Math.abs))).toBe(0);
  });

  it("linearTokenLogProbs gives the entropy of each row", async () => {
    const hidden = tf.tensor2d(randomNumbers(1, [5, 4]), [5, 4]);
    const unembedding = tf.tensor2d(randomNumbers(2, [9, 4]), [9, 4]);
    const { entropy } = linearTokenLogProbs(hidden, unembedding, ids(1, [5], 9) as tf.Tensor1D);
    const logProbs = tf.logSoftmax(tf.matMul(hidden, unembedding, false, true));
    const expected = tf.neg(tf.sum(tf.mul(tf.exp(logProbs), logProbs), 1));
    expect(difference(await entropy.data(), await expected.data())).toBeLessThan(2e-6);
  });

  it("does not change a row when padding is added", async () => {
    const short = randomNumbers(5, [1, 3, 12]);
    const attend = (before: number, behind: number) => {
      const padded = tf.pad(
        tf.tensor3d(short, [1, 3, 12]),
        [
          [0, 0],
          [before, behind],
          [0, 0],
        ],
        9,
      );
      const row = [...Array(before).fill(0), 1, 1, 1, ...Array(behind).fill(0)];
      const segments = tf.tensor2d([row], undefined, "int32");
      const y = attention(padded as tf.Tensor3D, { heads: 2, kvHeads: 2, causal: true, segments });
      return tf.slice(y, [0, before, 0], [1, 3, 4]);
    };
    const expected = await attend(0, 0).data();
    expect(difference(await attend(2, 0).data(), expected)).toBeLessThan(1e-6);
    expect(difference(await attend(0, 3).data(), expected)).toBeLessThan(1e-6);
  });

  it("takes norms and clips", async () => {
    const before = tf.memory().numTensors;
    const grads = { a: tf.tensor1d([3, 0]), b: tf.tensor2d([[4]]) };
    const norm = globalNorm(grads);
    const clipped = clipByGlobalNorm(grads, 2.5);
    const loose = clipByGlobalNorm(grads, 10);
    expect(difference(await norm.data(), [5])).toBeLessThan(1e-6);
    expect(difference(await clipped.norm.data(), [5])).toBeLessThan(1e-6);
    expect(difference(await clipped.grads.b!.data(), [2])).toBeLessThan(1e-6);
    expect([...(await loose.grads.a!.data())]).toEqual([3, 0]);
    tf.dispose([grads, norm, clipped, loose]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("updates parameters in place and leaves clones as they were", async () => {
    const before = tf.memory().numTensors;
    const variable = (values: number[]) => tf.tidy(() => tf.variable(tf.tensor1d(values)) as tf.Variable);
    const params = { w: variable([1, -2]) };
    const clone = tf.clone(params.w);
    const grads = { w: tf.tensor1d([0.5, 0.5]) };
    const firstMoments = { w: variable([0, 0]) };
    const secondMoments = { w: variable([0, 0]) };
    const hyper = {
      step: 1,
      learningRate: 0.1,
      beta1: 0.9,
      beta2: 0.99,
      epsilon: 1e-8,
      weightDecay: () => 0,
    };
    adamwStep({ params, grads, firstMoments, secondMoments, ...hyper });
    expect(difference(await params.w.data(), [0.9, -2.1])).toBeLessThan(1e-6);
    expect([...(await clone.data())]).toEqual([1, -2]);
    tf.dispose([params, clone, grads, firstMoments, secondMoments]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each([
    ["temperature alone", { temperature: 0.8 }],
    ["topK", { temperature: 1, topK: 3 }],
    ["topP", { temperature: 1.2, topP: 0.6 }],
    ["topK and topP", { temperature: 1, topK: 5, topP: 0.8 }],
  ])("samples as cpu does with %s", async (_, options) => {
    const draw = async () => {
      const before = tf.memory().numTensors;
      const logits = tf.tensor2d(randomNumbers(8, [40, 13], 2), [40, 13]);
      const numbers = tf.tensor1d(uniforms(key(9), 40));
      const drawn = sample(logits, numbers, options);
      expect(drawn.ids.dtype).toBe("int32");
      const result = [await drawn.ids.data(), await drawn.logProbs.data()] as const;
      tf.dispose([logits, numbers, drawn]);
      expect(tf.memory().numTensors).toBe(before);
      return result;
    };
    await useBackend("cpu");
    const [expectedIds, expectedLogProbs] = await draw();
    await useBackend(backend);
    const [actualIds, logProbs] = await draw();
    expect([...actualIds]).toEqual([...expectedIds]);
    expect(difference(logProbs, expectedLogProbs)).toBeLessThan(2e-6);
  });
});
