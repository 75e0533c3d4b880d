/** Kernels over all parameters of a model; their tensors come in attributes. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { program, reductions, threads } from "./_program.ts";
import { sizeOf } from "./backend.ts";

type Tensors = ReadonlyArray<tf.TensorInfo>;

const update = (scaled: boolean) =>
  ({
    ints: ["size"],
    floats: ["decay", "stepSize", "beta1", "beta2", "epsilon", "secondCorrection"],
    main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let g = grad[i]${scaled ? " * scale[0]" : ""};
  let m = first[i] * u.beta1 + g * (1.0 - u.beta1);
  let v = second[i] * u.beta2 + g * g * (1.0 - u.beta2);
  first[i] = m;
  second[i] = v;
  param[i] = param[i] * u.decay - u.stepSize * m / (sqrt(v) / u.secondCorrection + u.epsilon);`,
  }) as const;
const updated = { param: "inout f32", grad: "in f32", first: "inout f32", second: "inout f32" } as const;
const adamwProgram = program({ key: "adamw", buffers: updated, ...update(false) });
const scaledAdamwProgram = program({
  key: "adamw scaled",
  buffers: { ...updated, scale: "in f32" },
  ...update(true),
});

/** In place; where a buffer has another owner, that owner keeps the old values. */
const adamw = kernel<
  never,
  {
    readonly params: Tensors;
    readonly grads: Tensors;
    readonly firstMoments: Tensors;
    readonly secondMoments: Tensors;
    readonly step: number;
    readonly learningRate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecays: ReadonlyArray<number>;
    readonly gradScale: tf.TensorInfo | null;
  }
>(({ op, attrs, backend }) => {
  const { learningRate, beta1, beta2, epsilon, step, gradScale } = attrs;
  for (const [i, given] of attrs.params.entries()) {
    const tensors = {
      param: backend.writable(op, `parameter ${i}`, given),
      grad: attrs.grads[i]!,
      first: backend.writable(op, `first moment ${i}`, attrs.firstMoments[i]!),
      second: backend.writable(op, `second moment ${i}`, attrs.secondMoments[i]!),
    };
    const size = sizeOf(given.shape);
    const uniforms = {
      size,
      decay: 1 - learningRate * attrs.weightDecays[i]!,
      stepSize: learningRate / (1 - beta1 ** step),
      beta1,
      beta2,
      epsilon,
      secondCorrection: Math.sqrt(1 - beta2 ** step),
    };
    const groups = Math.ceil(size / threads);
    if (gradScale) {
      backend.run(scaledAdamwProgram, { tensors: { ...tensors, scale: gradScale }, uniforms, groups });
    } else backend.run(adamwProgram, { tensors, uniforms, groups });
  }
  return [];
});

/** Elements that one workgroup sums. */
const block = 64 * threads;

const squaresProgram = program({
  key: "sum of squares",
  buffers: { x: "in f32", sums: "inout f32" },
  ints: ["size", "place"],
  declarations: reductions,
  main: `
  var sum = 0.0;
  let end = min(u.size, (index + 1u) * ${block}u);
  for (var i = index * ${block}u + lane; i < end; i += threads) { sum += x[i] * x[i]; }
  let total = sumOver(sum, lane);
  if (lane == 0u) { sums[u.place + index] = total; }`,
});
const rootProgram = program({
  key: "root of sum",
  buffers: { sums: "in f32", norm: "out f32" },
  ints: ["count"],
  declarations: reductions,
  main: `
  var sum = 0.0;
  for (var i = lane; i < u.count; i += threads) { sum += sums[i]; }
  let total = sumOver(sum, lane);
  if (lane == 0u) { norm[0] = sqrt(total); }`,
});

const globalNorm = kernel<never, { readonly tensors: Tensors }>(({ attrs, backend }) => {
  const blocksOf = (tensor: tf.TensorInfo) => Math.ceil(sizeOf(tensor.shape) / block);
  const count = attrs.tensors.reduce((sum, tensor) => sum + blocksOf(tensor), 0);
  const [sums, norm] = [backend.output([count]), backend.output([])];
  let place = 0;
  for (const x of attrs.tensors) {
    const groups = blocksOf(x);
    backend.run(squaresProgram, { tensors: { x, sums }, uniforms: { size: sizeOf(x.shape), place }, groups });
    place += groups;
  }
  backend.run(rootProgram, { tensors: { sums, norm }, uniforms: { count }, groups: 1 });
  backend.free(sums);
  return norm;
});

export const optimizerKernels: Record<string, Kernel> = { RlhfAdamw: adamw, RlhfGlobalNorm: globalNorm };
