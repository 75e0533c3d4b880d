/** A whole block of a decoder and its gradient: the addon's kernels one after the other, without tfjs in between. */
import type * as tf from "@tensorflow/tfjs-core";
import { type KernelCall, kernel, type NativeKernel, requireShape } from "./_kernel.ts";
import { activationNumbers } from "./fused_kernels.ts";

interface Attributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: string;
  readonly ropeTheta?: number | undefined;
  readonly causal: boolean;
  readonly recorded: boolean;
}

/** In the order of the gradients. */
const gradientNames = [
  "x",
  "attentionGain",
  "attentionShift",
  "qkv",
  "qkvBias",
  "attentionOut",
  "attentionOutBias",
  "feedForwardGain",
  "feedForwardShift",
  "up",
  "upBias",
  "down",
  "downBias",
] as const;
type GradientName = (typeof gradientNames)[number];

/** The sizes of a block and access to its inputs, checked. */
const blockOf = ({ op, inputs, attrs, backend }: KernelCall<Attributes>) => {
  const { heads, kvHeads, headDim, norm, activation } = attrs;
  const input = (name: string): tf.TensorInfo => {
    const tensor = inputs[name];
    if (tensor === undefined) throw new TypeError(`Cannot run ${op}: ${name} is missing`);
    return tensor;
  };
  const floats = (name: string, shape: ReadonlyArray<number>): Float32Array => {
    requireShape(op, name, input(name), shape);
    return backend.floats(op, name, input(name));
  };
  const optional = (name: string, shape: ReadonlyArray<number>) =>
    inputs[name] ? floats(name, shape) : null;
  const perToken = (name: string): Int32Array => {
    requireShape(op, name, input(name), ["batch", "time"]);
    requireShape(op, name, input(name), input("segments").shape);
    return backend.ints(op, name, input(name));
  };

  const segments = perToken("segments");
  const [batch, time] = input("segments").shape as [number, number];
  const rows = batch * time;
  requireShape(op, "x", input("x"), [rows, "d"]);
  requireShape(op, "down", input("down"), ["f", "d"]);
  const [width, inner] = [input("x").shape[1]!, input("down").shape[0]!];
  const [qkvWidth, mixedWidth] = [(heads + 2 * kvHeads) * headDim, heads * headDim];
  const gated = activation === "swiglu";
  const activationNumber = gated ? 0 : activationNumbers[activation];
  if (activationNumber === undefined) {
    throw new RangeError(`Cannot run ${op}: unknown activation ${activation}`);
  }
  const upWidth = gated ? 2 * inner : inner;
  const isLayerNorm = norm === "layer";
  if (!isLayerNorm && (inputs.attentionShift || inputs.feedForwardShift)) {
    throw new RangeError(`Cannot run ${op}: a norm without mean has no shift`);
  }
  return {
    ...{ batch, time, rows, width, inner, qkvWidth, mixedWidth, upWidth, gated, isLayerNorm },
    activation: activationNumber,
    segments,
    positions: attrs.ropeTheta === undefined ? undefined : perToken("positions"),
    floats,
    x: floats("x", [rows, width]),
    attentionGain: floats("attentionGain", [width]),
    attentionShift: isLayerNorm ? floats("attentionShift", [width]) : null,
    qkv: floats("qkv", [width, qkvWidth]),
    qkvBias: optional("qkvBias", [qkvWidth]),
    attentionOut: floats("attentionOut", [mixedWidth, width]),
    attentionOutBias: optional("attentionOutBias", [width]),
    feedForwardGain: floats("feedForwardGain", [width]),
    feedForwardShift: isLayerNorm ? floats("feedForwardShift", [width]) : null,
    up: floats("up", [width, upWidth]),
    upBias: optional("upBias", [upWidth]),
    down: floats("down", [inner, width]),
    downBias: optional("downBias", [width]),
  };
};
type Block = ReturnType<typeof blockOf>;

/** What the forward pass computes on its way and the gradient reads, by its size. */
const activationSizes = ({ rows, width, inner, qkvWidth, mixedWidth, upWidth }: Block, heads: number) => [
  2 * rows, // means and deviations of the attention's norm
  rows * width, // normed
  rows * qkvWidth, // queries, keys, values, rotated
  rows * heads, // log-sum-exps
  rows * mixedWidth, // the attention's result
  rows * width, // x + Attention(norm(x))
  2 * rows, // means and deviations of the feed-forward's norm
  rows * width, // normed
  rows * upWidth, // before the activation
  rows * inner, // behind it
];

type Floats = Float32Array;
type Ten = [Floats, Floats, Floats, Floats, Floats, Floats, Floats, Floats, Floats, Floats];

const decoderBlock = kernel<Attributes>((call) => {
  const { attrs, backend } = call;
  const { addon, pool } = backend;
  const b = blockOf(call);
  const { batch, time, rows, width, inner } = b;
  const { heads, kvHeads, headDim, ropeTheta, causal, epsilon } = attrs;
  const { info, array: y } = backend.floatOutput([rows, width]);
  const kept = activationSizes(b, heads).map((size) => pool.take(size));
  backend.keepWith(info, kept);
  const [stats, normed, qkv, sums, mixed, attended, innerStats, innerNormed, raised, hidden] = kept as Ten;

  const norm = (x: Floats, gain: Floats, shift: Floats | null, to: Floats, stats: Floats) => {
    if (shift) addon.layerNorm(x, gain, shift, to, stats, rows, width, epsilon);
    else addon.rmsNorm(x, gain, to, stats, rows, width, epsilon);
  };
  const add = (residual: Floats, x: Floats, size: number, weight: Floats, bias: Floats | null, to: Floats) =>
    addon.linear(x, weight, bias, residual, to, null, rows, size, width, 0, false);

  norm(b.x, b.attentionGain, b.attentionShift, normed, stats);
  addon.linear(normed, b.qkv, b.qkvBias, null, qkv, null, rows, width, b.qkvWidth, 0, false);
  if (b.positions) addon.rope(qkv, b.positions, qkv, rows, heads, kvHeads, headDim, ropeTheta!, false);
  addon.attention(qkv, b.segments, mixed, sums, batch, time, heads, kvHeads, headDim, causal);
  add(b.x, mixed, b.mixedWidth, b.attentionOut, b.attentionOutBias, attended);
  norm(attended, b.feedForwardGain, b.feedForwardShift, innerNormed, innerStats);
  const [first, pre] = b.gated ? [raised, null] : [hidden, raised];
  addon.linear(innerNormed, b.up, b.upBias, null, first, pre, rows, width, b.upWidth, b.activation, false);
  if (b.gated) addon.swiglu(raised, hidden, rows, inner);
  add(attended, hidden, inner, b.down, b.downBias, y);

  if (!attrs.recorded) {
    backend.keepWith(info, []);
    for (const array of kept) pool.give(array);
  }
  return info;
});

const decoderBlockGrad = kernel<Attributes>((call) => {
  const { op, inputs, attrs, backend } = call;
  const { addon, pool } = backend;
  const b = blockOf(call);
  const { batch, time, rows, width, inner } = b;
  const { heads, kvHeads, headDim, ropeTheta, causal } = attrs;
  const dy = b.floats("dy", [rows, width]);
  const activations = backend.keptWith(op, inputs.y!);
  const [stats, normed, qkv, sums, mixed, attended, innerStats, innerNormed, raised, hidden] =
    activations as Ten;

  const gradients = new Map<string, ReturnType<typeof backend.floatOutput>>();
  for (const name of gradientNames) {
    if (inputs[name] !== undefined) gradients.set(name, backend.floatOutput(inputs[name].shape));
  }
  const to = (name: GradientName): Floats => gradients.get(name)!.array;
  const scratch: Array<Floats> = [];
  const temporary = (size: number): Floats => {
    const array = pool.take(size);
    scratch.push(array);
    return array;
  };
  /** The gradient of a map, also by its weight; `pre` where an activation follows, and dy becomes its gradient. */
  const mapGrad = (
    name: "qkv" | "attentionOut" | "up" | "down",
    { dy, x, dx, pre = null }: { dy: Floats; x: Floats; dx: Floats; pre?: Floats | null },
  ) => {
    const [from, out] = inputs[name]!.shape as [number, number];
    const dbias = gradients.get(`${name}Bias`)?.array ?? null;
    const [dpre, activation] = pre ? [dy, b.activation] : [null, 0];
    addon.linearGrad(dy, x, b[name], pre, dpre, dx, to(name), dbias, rows, from, out, activation, false);
  };
  const normGrad = (
    name: "attention" | "feedForward",
    { dy, x, stats, dx, residual }: { dy: Floats; x: Floats; stats: Floats; dx: Floats; residual: Floats },
  ) => {
    const [gain, dgain] = [b[`${name}Gain`], to(`${name}Gain`)];
    if (b.isLayerNorm) {
      addon.layerNormGrad(dy, x, gain, stats, dx, dgain, to(`${name}Shift`), rows, width, residual);
    } else {
      addon.rmsNormGrad(dy, x, gain, stats, dx, dgain, rows, width, residual);
    }
  };
  try {
    const dhidden = temporary(rows * inner);
    const dnormed = temporary(rows * width);
    mapGrad("down", { dy, x: hidden, dx: dhidden });
    if (b.gated) {
      const draised = temporary(rows * b.upWidth);
      addon.swigluGrad(dhidden, raised, draised, rows, inner);
      mapGrad("up", { dy: draised, x: innerNormed, dx: dnormed });
    } else {
      mapGrad("up", { dy: dhidden, x: innerNormed, dx: dnormed, pre: raised });
    }
    const dattended = temporary(rows * width);
    normGrad("feedForward", { dy: dnormed, x: attended, stats: innerStats, dx: dattended, residual: dy });

    const dmixed = temporary(rows * b.mixedWidth);
    const dqkv = temporary(rows * b.qkvWidth);
    mapGrad("attentionOut", { dy: dattended, x: mixed, dx: dmixed });
    addon.attentionGrad(
      dmixed,
      qkv,
      mixed,
      sums,
      b.segments,
      dqkv,
      batch,
      time,
      heads,
      kvHeads,
      headDim,
      causal,
    );
    if (b.positions) addon.rope(dqkv, b.positions, dqkv, rows, heads, kvHeads, headDim, ropeTheta!, true);
    mapGrad("qkv", { dy: dqkv, x: normed, dx: dnormed });
    normGrad("attention", { dy: dnormed, x: b.x, stats, dx: to("x"), residual: dattended });
  } finally {
    for (const array of scratch) pool.give(array);
  }
  return [...gradients.values()].map(({ info }) => info);
});

export const decoderBlockKernels: Record<string, NativeKernel> = {
  RlhfDecoderBlock: decoderBlock,
  RlhfDecoderBlockGrad: decoderBlockGrad,
};
