/**
 * What a backend with fused kernels is held to: every operation that has one, to be compared with its composed form on
 * the cpu backend.
 */
import { key, uniforms } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";
import { adamwStep } from "../adamw_step.ts";
import { addInto } from "../add_into.ts";
import { clipScale, globalNorm } from "../global_norm.ts";
import { sample } from "../sample.ts";
import { blockCases } from "./block_cases.ts";
import { gpt, llama, mixedSteps } from "./decoders.ts";
import { differentiableCases, type FusedCase, masked } from "./layer_cases.ts";
import { floats, type Raw, withGradients } from "./run_on.ts";

/**
 * What float32 may make of sums in another order, relative (see `difference`); a layer norm of width 1, all of whose
 * gradient cancels, comes to half of it, everything else to a tenth.
 */
export const tolerance = 2e-5;

const draws = (values: Float32Array): Raw => ({ values, shape: [values.length], dtype: "float32" });
const sampling = (
  name: string,
  logits: Raw,
  uniforms: Raw,
  cut: { readonly topK?: number; readonly topP?: number } = {},
): FusedCase => ({
  kernel: "RlhfSample",
  name: [name, ...Object.entries(cut).map((limit) => limit.join(" "))].join(", "),
  inputs: [logits, uniforms],
  operation: ([z, u]) => {
    const { ids, logProbs } = sample(z as tf.Tensor2D, u as tf.Tensor1D, { temperature: 0.9, ...cut });
    return [ids, logProbs];
  },
});
const cuts = [{}, { topK: 1 }, { topK: 17 }, { topP: 0.8 }, { topK: 30, topP: 0.5 }, { topK: 1000 }];
const samplingCases: ReadonlyArray<FusedCase> = [
  ...cuts.map((cut) => sampling("60x301", floats(1, [60, 301], 4), draws(uniforms(key(5), 60)), cut)),
  ...[{}, { topP: 0.9 }, { topK: 100 }].map((cut) =>
    sampling("30x130, logits of −∞", masked(30, 130), draws(uniforms(key(6), 30)), cut),
  ),
];

/** Two updates in place; a clone of a parameter stays as it was. */
const adamwCase = (scaled: boolean): FusedCase => ({
  kernel: "RlhfAdamw",
  name: scaled ? "clipped gradients" : "gradients as they are",
  inputs: [1, 2].flatMap((seed) => [[3, 70], [1], [5130]].map((shape, i) => floats(10 * seed + i, shape))),
  operation: (tensors) => {
    const named = (list: tf.Tensor[]) => Object.fromEntries(list.map((x, i) => [`p${i}`, tf.variable(x)]));
    const zeros = () => named(tensors.slice(0, 3).map((x) => tf.zerosLike(x)));
    const params = named(tensors.slice(0, 3));
    const grads = Object.fromEntries(tensors.slice(3).map((x, i) => [`p${i}`, x]));
    const [firstMoments, secondMoments, clone] = [zeros(), zeros(), tf.clone(params.p0!)];
    for (const step of [1, 2]) {
      adamwStep({
        params,
        grads,
        firstMoments,
        secondMoments,
        learningRate: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        step,
        weightDecay: (name) => (name === "p0" ? 0.1 : 0),
        gradScale: scaled ? clipScale(globalNorm(grads), 0.3) : undefined,
      });
    }
    const all = [params, firstMoments, secondMoments].flatMap((list) => Object.values(list));
    const results = [...all.map((x) => tf.add(x, 0)), clone];
    tf.dispose(all);
    return results;
  },
});

const updateCases: ReadonlyArray<FusedCase> = [
  adamwCase(false),
  adamwCase(true),
  {
    kernel: "RlhfGlobalNorm",
    name: "tensors of all sizes",
    inputs: [1, 7, 40_000, 300].map((size, i) => floats(i, [size])),
    operation: (tensors) => globalNorm(Object.fromEntries(tensors.entries())),
  },
  {
    kernel: "RlhfAddInto",
    name: "into a sum, and into a copy where the sum has another owner",
    inputs: [1, 2, 3].map((seed) => floats(seed, [300])),
    operation: ([a, b, c]) => {
      const own = tf.add(a!, 1);
      const clone = tf.clone(own);
      const copied = addInto(own, tf.clone(b!));
      return [addInto(tf.mul(copied, 1), tf.clone(c!)), clone, copied, tf.add(b!, 0), tf.add(c!, 0)];
    },
  },
];

/** The last with a context that the cuda backend splits. */
export const decodingCases = [
  { name: "GPT-2", spec: gpt, context: 80 },
  { name: "Llama", spec: llama, context: 80 },
  { name: "Llama, long context", spec: llama, context: 300 },
].map(
  ({ name, spec, context }): FusedCase => ({
    kernel: "RlhfDecodeStep",
    name,
    inputs: [],
    operation: () => mixedSteps(spec, context),
  }),
);

/** All of them, those of `differentiableCases` with their gradients. */
export const fusedCases: ReadonlyArray<FusedCase> = [
  ...differentiableCases.map(({ operation, ...rest }) => ({ ...rest, operation: withGradients(operation) })),
  ...blockCases,
  ...samplingCases,
  ...updateCases,
  ...decodingCases,
];
