/** Kernels over all parameters of a model; their tensors come in attributes. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { type Buffers, program, reductions, threads } from "./_program.ts";
import { sizeOf } from "./backend.ts";

type Tensors = ReadonlyArray<tf.TensorInfo>;

/** The buffers of one parameter, by their names in a program that updates several. */
const buffersOf = (place: number) =>
  ({
    [`param${place}`]: "inout f32",
    [`grad${place}`]: "in f32",
    [`first${place}`]: "inout f32",
    [`second${place}`]: "inout f32",
  }) as const;

/** Updates `count` parameters, one after the other over the workgroups: a launch costs more than a small parameter. */
const adamwProgram = (count: number, scaled: boolean) => {
  const places = Array.from({ length: count }, (_, place) => place);
  const update = (place: number) => `
  if (index < u.end${place}) {
    let i = (index - ${place === 0 ? "0u" : `u.end${place - 1}`}) * threads + lane;
    if (i >= u.size${place}) { return; }
    let g = grad${place}[i]${scaled ? " * scale[0]" : ""};
    let m = first${place}[i] * u.beta1 + g * (1.0 - u.beta1);
    let v = second${place}[i] * u.beta2 + g * g * (1.0 - u.beta2);
    first${place}[i] = m;
    second${place}[i] = v;
    param${place}[i] = param${place}[i] * u.decay${place} - u.stepSize * m / (sqrt(v) / u.secondCorrection + u.epsilon);
    return;
  }`;
  const buffers: Buffers = Object.assign({}, ...places.map(buffersOf), scaled ? { scale: "in f32" } : {});
  return program({
    key: `adamw of ${count}${scaled ? " scaled" : ""}`,
    buffers,
    ints: places.flatMap((place) => [`end${place}`, `size${place}`]),
    floats: [
      ...places.map((place) => `decay${place}`),
      ...["stepSize", "beta1", "beta2", "epsilon", "secondCorrection"],
    ],
    main: places.map(update).join(""),
  });
};

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
  const scale = gradScale === null ? {} : { scale: gradScale };
  const bindings = backend.device.limits.maxStorageBuffersPerShaderStage - (gradScale === null ? 0 : 1);
  const perLaunch = Math.floor(bindings / 4);
  for (let start = 0; start < attrs.params.length; start += perLaunch) {
    const members = attrs.params.slice(start, start + perLaunch);
    const tensors: Record<string, tf.TensorInfo> = { ...scale };
    const uniforms: Record<string, number> = {
      stepSize: learningRate / (1 - beta1 ** step),
      beta1,
      beta2,
      epsilon,
      secondCorrection: Math.sqrt(1 - beta2 ** step),
    };
    let groups = 0;
    for (const [place, given] of members.entries()) {
      const i = start + place;
      const size = sizeOf(given.shape);
      groups += Math.ceil(size / threads);
      tensors[`param${place}`] = backend.writable(op, `parameter ${i}`, given);
      tensors[`grad${place}`] = attrs.grads[i]!;
      tensors[`first${place}`] = backend.writable(op, `first moment ${i}`, attrs.firstMoments[i]!);
      tensors[`second${place}`] = backend.writable(op, `second moment ${i}`, attrs.secondMoments[i]!);
      uniforms[`end${place}`] = groups;
      uniforms[`size${place}`] = size;
      uniforms[`decay${place}`] = 1 - learningRate * attrs.weightDecays[i]!;
    }
    backend.run(adamwProgram(members.length, gradScale !== null), { tensors, uniforms, groups });
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
