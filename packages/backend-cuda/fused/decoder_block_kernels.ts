/**
 * A whole block of a decoder and its gradient: the fused kernels one after the other, without tfjs in between. On the way
 * back a norm's gradient adds what reaches its input past the norm, and leaves the sum rounded for the next products.
 */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, type KernelResult, kernel } from "../_kernel.ts";
import type { CudaBackend } from "../backend.ts";
import { attentionKernels } from "./attention_kernels.ts";
import { layerKernels } from "./layer_kernels.ts";
import { linearKernels } from "./linear_kernels.ts";
import { normGradient, normKernels } from "./norm_kernels.ts";

interface Attributes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: string;
  readonly ropeTheta?: number | undefined;
  readonly causal: boolean;
  readonly recorded: boolean;
}

/** In the order of the gradients. */
const differentiable = [
  ...["x", "attentionGain", "attentionShift", "qkv", "qkvBias", "attentionOut", "attentionOutBias"],
  ...["feedForwardGain", "feedForwardShift", "up", "upBias", "down", "downBias"],
] as const;
type MapName = "qkv" | "attentionOut" | "up" | "down";
type NormName = "attention" | "feedForward";
type Name = "x" | `${NormName}${"Gain" | "Shift"}` | `${MapName}${"" | "Bias"}`;
type GradientInputs = Readonly<Record<"dy" | "x", tf.TensorInfo>> & { readonly y?: tf.TensorInfo };
type Inputs = Readonly<Record<Name | "segments" | "positions", tf.TensorInfo>>;

const kernels: Readonly<Record<string, Kernel>> = {
  ...attentionKernels,
  ...layerKernels,
  ...linearKernels,
  ...normKernels,
};

/** The maps and norms of a block by name, on tensors of the backend. */
const partsOf = (backend: CudaBackend, inputs: Inputs, attrs: Attributes) => {
  const [batch, time] = inputs.segments.shape as [number, number];
  const { heads, kvHeads, causal, ropeTheta } = attrs;
  const run = <Result extends KernelResult = tf.TensorInfo>(
    op: string,
    given: Readonly<Record<string, tf.TensorInfo | undefined>>,
    attributes: object = {},
  ) => kernels[op]!({ op, inputs: given, attrs: attributes, backend } as never) as Result;
  const bySequence = (x: tf.TensorInfo) => ({ ...x, shape: [batch, time, x.shape.at(-1)!] });
  const byToken = (x: tf.TensorInfo) => ({ ...x, shape: [batch * time, x.shape.at(-1)!] });
  const { segments, positions } = inputs;
  const mapAttributes = { activation: null as string | null, transposeWeight: false };
  const headAttributes = { heads, kvHeads, causal };
  return {
    run,
    gated: attrs.activation === "swiglu",
    norm: (name: NormName, x: tf.TensorInfo) => {
      const [gain, bias] = [inputs[`${name}Gain`], inputs[`${name}Shift`]];
      return run(attrs.norm === "layer" ? "RlhfLayerNorm" : "RlhfRmsNorm", { x, gain, bias }, attrs);
    },
    map: (
      name: MapName,
      x: tf.TensorInfo,
      { residual, activation = null }: { residual?: tf.TensorInfo; activation?: string | null } = {},
    ) => {
      const given = { x, weight: inputs[name], bias: inputs[`${name}Bias`], residual };
      return run("RlhfLinear", given, { ...mapAttributes, activation });
    },
    /** Gradients by the map's input, its weight and, where it has one, its bias. */
    mapGrad: (name: MapName, given: GradientInputs, activation: string | null) => {
      const attributes = { ...mapAttributes, activation, hasBias: inputs[`${name}Bias`] !== undefined };
      return run<tf.TensorInfo[]>("RlhfLinearGrad", { ...given, weight: inputs[name] }, attributes);
    },
    attention: (qkv: tf.TensorInfo) =>
      byToken(run("RlhfAttention", { qkv: bySequence(qkv), segments }, headAttributes)),
    attentionGrad: (dy: tf.TensorInfo, qkv: tf.TensorInfo, y: tf.TensorInfo) => {
      const given = { dy: bySequence(dy), qkv: bySequence(qkv), y: bySequence(y), segments };
      return byToken(run("RlhfAttentionGrad", given, headAttributes));
    },
    /** Rotates and frees q|k|v, where the model does. */
    rotated: (qkv: tf.TensorInfo, inverse: boolean) => {
      if (ropeTheta === undefined) return qkv;
      const attributes = { heads, kvHeads, theta: ropeTheta, inverse };
      const turned = byToken(run("RlhfRope", { qkv: bySequence(qkv), positions }, attributes));
      backend.free(qkv);
      return turned;
    },
  };
};
/** `hidden` only where the activation is a kernel of its own. */
type Kept = [
  normed: tf.TensorInfo,
  qkv: tf.TensorInfo,
  mixed: tf.TensorInfo,
  attended: tf.TensorInfo,
  innerNormed: tf.TensorInfo,
  raised: tf.TensorInfo,
  hidden?: tf.TensorInfo,
];

const decoderBlock = kernel<keyof Inputs, Attributes>(({ inputs, attrs, backend }) => {
  const { run, gated, norm, map, attention, rotated } = partsOf(backend, inputs, attrs);
  const normed = norm("attention", inputs.x);
  const qkv = rotated(map("qkv", normed), false);
  const mixed = attention(qkv);
  const attended = map("attentionOut", mixed, { residual: inputs.x });
  const innerNormed = norm("feedForward", attended);
  const raised = map("up", innerNormed, { activation: gated ? null : attrs.activation });
  const hidden = gated ? run("RlhfSwiglu", { x: raised }) : raised;
  const y = map("down", hidden, { residual: attended });
  const kept = [normed, qkv, mixed, attended, innerNormed, raised, ...(gated ? [hidden] : [])];
  if (attrs.recorded) backend.keepWith(y, kept);
  else backend.free(...kept);
  return y;
});

const decoderBlockGrad = kernel<keyof Inputs | "dy" | "y", Attributes>(({ op, inputs, attrs, backend }) => {
  const { run, gated, mapGrad, attentionGrad, rotated } = partsOf(backend, inputs, attrs);
  const kept = backend.keptWith(op, inputs.y) as Kept;
  const [normed, qkv, mixed, attended, innerNormed, raised, hidden = raised] = kept;
  const gradients: Partial<Record<Name, tf.TensorInfo>> = {};
  /** The gradient by the input of a map; those by its weight and bias are results. */
  const throughMap = (name: MapName, given: GradientInputs, activation: string | null = null) => {
    const [dx, dweight, dbias] = mapGrad(name, given, activation);
    gradients[name] = dweight!;
    if (dbias) gradients[`${name}Bias`] = dbias;
    return dx!;
  };
  const throughNorm = (
    name: NormName,
    given: Readonly<Record<"dy" | "x" | "y", tf.TensorInfo>>,
    residual: tf.TensorInfo,
  ) => {
    const all = { ...given, gain: inputs[`${name}Gain`] };
    const [dx, dgain, dshift] = normGradient(attrs.norm, op, backend, all, residual);
    backend.free(given.dy);
    gradients[`${name}Gain`] = dgain!;
    if (dshift) gradients[`${name}Shift`] = dshift;
    return dx!;
  };

  const dhidden = throughMap("down", { dy: inputs.dy, x: hidden });
  const draised = gated ? run("RlhfSwigluGrad", { dy: dhidden, x: raised }) : dhidden;
  if (gated) backend.free(dhidden);
  const dinner = throughMap(
    "up",
    { dy: draised, x: innerNormed, y: hidden },
    gated ? null : attrs.activation,
  );
  backend.free(draised);
  const dattended = throughNorm("feedForward", { dy: dinner, x: attended, y: innerNormed }, inputs.dy);
  const dmixed = throughMap("attentionOut", { dy: dattended, x: mixed });
  const dqkv = rotated(attentionGrad(dmixed, qkv, mixed), true);
  backend.free(dmixed);
  const dnormed = throughMap("qkv", { dy: dqkv, x: normed });
  backend.free(dqkv);
  gradients.x = throughNorm("attention", { dy: dnormed, x: inputs.x, y: normed }, dattended);
  backend.free(dattended);
  return differentiable.flatMap((name) => gradients[name as Name] ?? []);
});

export const decoderBlockKernels: Record<string, Kernel> = {
  RlhfDecoderBlock: decoderBlock,
  RlhfDecoderBlockGrad: decoderBlockGrad,
};
