import { readFileSync } from "node:fs";
import { expectFidelity } from "@rlhf/core/testing/fidelity";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { adamwStep } from "./adamw_step.ts";
import { attention } from "./attention.ts";
import { useBackend } from "./backend.ts";
import { clipScale, globalNorm } from "./global_norm.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { linearTokenLogProbs } from "./linear_token_log_probs.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { swiglu } from "./swiglu.ts";
import { availableBackends, difference } from "./testing/numbers.ts";
import { tokenLogProbs } from "./token_log_probs.ts";

interface Numbers {
  readonly shape: number[];
  readonly values: number[];
}
interface Case {
  readonly inputs: Record<string, Numbers>;
  readonly output: Numbers;
  readonly outputGradient: Numbers;
  readonly gradients: Record<string, Numbers>;
}
const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`./golden/${name}.json`, import.meta.url), "utf8"));
const golden = read("operations");
const ids = () => tf.tensor1d(golden.tokenLogProbs.ids, "int32");

const operations: Record<string, (x: Record<string, tf.Tensor>) => tf.Tensor> = {
  gelu: ({ x }) => linear(x!, tf.eye(6), { activation: "gelu" }),
  geluTanh: ({ x }) => linear(x!, tf.eye(6), { activation: "geluTanh" }),
  silu: ({ x }) => linear(x!, tf.eye(6), { activation: "silu" }),
  linear: ({ x, weight, bias, residual }) =>
    linear(x!, weight!, { bias, residual: residual!, activation: "geluTanh", transposeWeight: true }),
  layerNorm: ({ x, gain, bias }) => layerNorm(x!, gain!, bias!, 1e-5),
  rmsNorm: ({ x, gain }) => rmsNorm(x!, gain!, 1e-6),
  swiglu: ({ gateUp }) => swiglu(gateUp!),
  attentionCausal: ({ qkv }) => attention(qkv as tf.Tensor3D, { heads: 4, kvHeads: 2, causal: true }),
  attentionFull: ({ qkv }) => attention(qkv as tf.Tensor3D, { heads: 4, kvHeads: 2, causal: false }),
  attentionSegments: ({ qkv }) => {
    const segments = tf.tensor2d(golden.attentionSegments.segments, undefined, "int32");
    return attention(qkv as tf.Tensor3D, { heads: 4, kvHeads: 2, causal: true, segments });
  },
  rope: ({ qkv }) => {
    const positions = tf.tensor2d(golden.rope.positions, undefined, "int32");
    return rope(qkv as tf.Tensor3D, { heads: 2, kvHeads: 1, positions, theta: 10000 });
  },
  tokenLogProbs: ({ logits }) => tokenLogProbs(logits!, ids(), { temperature: 0.7 }),
  linearTokenLogProbs: ({ hidden, unembedding }) =>
    linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids(), { temperature: 0.7 }).logProbs,
};

const backends = await availableBackends();

const check = (formula: string, error: number, limit: number, { source } = golden) =>
  expectFidelity({ formula, source, error, limit });

describe.each(backends)("torch and %s agree", (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(Object.keys(operations))("%s", async (name) => {
    const before = tf.memory().numTensors;
    const { inputs, output, outputGradient, gradients }: Case = golden[name];
    const names = Object.keys(inputs);
    const tensors = names.map((key) => tf.tensor(inputs[key]!.values, inputs[key]!.shape));
    const dy = tf.tensor(outputGradient.values, outputGradient.shape);
    const f = (...xs: tf.Tensor[]) =>
      tf.tidy(() => operations[name]!(Object.fromEntries(names.map((key, i) => [key, xs[i]!]))));
    const { value, grads } = tf.valueAndGrads(f)(tensors, dy);
    expect(value.shape).toEqual(output.shape);
    check(`${name}: value`, difference(await value.data(), output.values), 2e-6);
    for (const [i, key] of names.entries()) {
      check(`${name}: gradients`, difference(await grads[i]!.data(), gradients[key]!.values), 5e-6);
    }
    tf.dispose([tensors, dy, value, grads]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("entropy", async () => {
    const { inputs, entropy } = golden.linearTokenLogProbs;
    const result = tf.tidy(
      () =>
        linearTokenLogProbs(
          tf.tensor(inputs.hidden.values, inputs.hidden.shape),
          tf.tensor(inputs.unembedding.values, inputs.unembedding.shape),
          ids(),
          { temperature: 0.7 },
        ).entropy,
    );
    check("entropy: value", difference(await result.data(), entropy.values), 2e-6);
    result.dispose();
  });

  it("50 steps of AdamW with clipping", async () => {
    const before = tf.memory().numTensors;
    const adamw = read("adamw");
    const { initial, maxNorm, steps } = adamw;
    const tensors = (values: Record<"matrix" | "vector", number[]>) => ({
      matrix: tf.tensor2d(values.matrix, [2, 3]),
      vector: tf.tensor1d(values.vector),
    });
    const variables = (values: Record<"matrix" | "vector", number[]>) => {
      const { matrix, vector } = tensors(values);
      const made = { matrix: tf.variable(matrix), vector: tf.variable(vector) };
      tf.dispose([matrix, vector]);
      return made as unknown as Record<string, tf.Variable>;
    };
    const zeros = { matrix: Array(6).fill(0), vector: Array(4).fill(0) };
    const params = variables(initial);
    const firstMoments = variables(zeros);
    const secondMoments = variables(zeros);
    for (const [index, expected] of steps.entries()) {
      const grads = tensors(expected.grads);
      const norm = globalNorm(grads);
      const gradScale = clipScale(norm, maxNorm);
      adamwStep({
        params,
        grads,
        firstMoments,
        secondMoments,
        gradScale,
        step: index + 1,
        learningRate: 3e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay: (name) => (name === "matrix" ? 0.1 : 0),
      });
      check("global norms of 50 gradients", difference(await norm.data(), [expected.norm]), 1e-6, adamw);
      for (const name of ["matrix", "vector"] as const) {
        const error = difference(await params[name]!.data(), expected.params[name]);
        check("AdamW with clipping: parameters after each of 50 steps", error, 2e-6, adamw);
      }
      tf.dispose([grads, norm, gradScale]);
    }
    tf.dispose([params, firstMoments, secondMoments]);
    expect(tf.memory().numTensors).toBe(before);
  });
});
