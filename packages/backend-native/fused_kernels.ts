/** The fused kernels of `@rlhf/tensor`; their equations stand with its operations. */
import type * as tf from "@tensorflow/tfjs-core";
import { type KernelCall, kernel, type NativeKernel, requireShape } from "./_kernel.ts";

interface LinearAttributes {
  readonly activation: string | null;
  readonly transposeWeight: boolean;
}
interface HeadAttributes {
  readonly heads: number;
  readonly kvHeads: number;
}

/** The numbers of activations in the addon. */
export const activationNumbers: Readonly<Record<string, number>> = { relu: 1, gelu: 2, geluTanh: 3, silu: 4 };

const activationNumber = (op: string, activation: string | null | undefined): number => {
  if (activation === null || activation === undefined) return 0;
  const number = activationNumbers[activation];
  if (number === undefined) throw new RangeError(`Cannot run ${op}: unknown activation ${activation}`);
  return number;
};

const rowsOf = (op: string, name: string, x: tf.TensorInfo): [rows: number, width: number] => {
  requireShape(op, name, x, ["n", "width"]);
  return x.shape as [number, number];
};

/** Sizes of a linear map, checked. */
const linearSizes = ({
  op,
  inputs,
  attrs,
}: KernelCall<LinearAttributes>): [rows: number, inner: number, out: number] => {
  const [rows, inner] = rowsOf(op, "x", inputs.x!);
  const { transposeWeight } = attrs;
  requireShape(op, "weight", inputs.weight!, transposeWeight ? ["out", inner] : [inner, "out"]);
  return [rows, inner, inputs.weight!.shape[transposeWeight ? 0 : 1]!];
};

const linear = kernel<LinearAttributes>((call) => {
  const { op, inputs, attrs, backend } = call;
  const [rows, inner, out] = linearSizes(call);
  const { bias, residual } = inputs;
  if (bias) requireShape(op, "bias", bias, [out]);
  if (residual) requireShape(op, "residual", residual, [rows, out]);
  const activation = activationNumber(op, attrs.activation);
  const [x, weight] = [backend.floats(op, "x", inputs.x!), backend.floats(op, "weight", inputs.weight!)];
  const { info, array } = backend.floatOutput([rows, out]);
  const pre = activation ? backend.pool.take(array.length) : null;
  if (pre) backend.keepWith(info, [pre]);
  backend.addon.linear(
    x,
    weight,
    bias ? backend.floats(op, "bias", bias) : null,
    residual ? backend.floats(op, "residual", residual) : null,
    array,
    pre,
    rows,
    inner,
    out,
    activation,
    attrs.transposeWeight,
  );
  return info;
});

const linearGrad = kernel<LinearAttributes & { readonly hasBias: boolean }>((call) => {
  const { op, inputs, attrs, backend } = call;
  const [rows, inner, out] = linearSizes(call);
  requireShape(op, "dy", inputs.dy!, [rows, out]);
  const activation = activationNumber(op, attrs.activation);
  const [pre] = activation ? backend.keptWith(op, inputs.y!) : [null];
  const dy = backend.floats(op, "dy", inputs.dy!);
  const [x, weight] = [backend.floats(op, "x", inputs.x!), backend.floats(op, "weight", inputs.weight!)];
  const dx = backend.floatOutput([rows, inner]);
  const dweight = backend.floatOutput(inputs.weight!.shape);
  const dbias = attrs.hasBias ? backend.floatOutput([out]) : undefined;
  const dpre = activation ? backend.pool.take(rows * out) : null;
  backend.addon.linearGrad(
    dy,
    x,
    weight,
    pre!,
    dpre,
    dx.array,
    dweight.array,
    dbias?.array ?? null,
    rows,
    inner,
    out,
    activation,
    attrs.transposeWeight,
  );
  if (dpre) backend.pool.give(dpre);
  return [dx.info, dweight.info, ...(dbias ? [dbias.info] : [])];
});

const layerNorm = kernel<{ readonly epsilon: number }>(({ op, inputs, attrs, backend }) => {
  const [rows, width] = rowsOf(op, "x", inputs.x!);
  requireShape(op, "gain", inputs.gain!, [width]);
  requireShape(op, "bias", inputs.bias!, [width]);
  const [x, gain] = [backend.floats(op, "x", inputs.x!), backend.floats(op, "gain", inputs.gain!)];
  const bias = backend.floats(op, "bias", inputs.bias!);
  const { info, array } = backend.floatOutput([rows, width]);
  const stats = backend.pool.take(2 * rows);
  backend.keepWith(info, [stats]);
  backend.addon.layerNorm(x, gain, bias, array, stats, rows, width, attrs.epsilon);
  return info;
});

const layerNormGrad = kernel(({ op, inputs, backend }) => {
  const [rows, width] = rowsOf(op, "x", inputs.x!);
  requireShape(op, "dy", inputs.dy!, [rows, width]);
  requireShape(op, "gain", inputs.gain!, [width]);
  const [stats] = backend.keptWith(op, inputs.y!);
  const [dy, x] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "x", inputs.x!)];
  const gain = backend.floats(op, "gain", inputs.gain!);
  const dx = backend.floatOutput([rows, width]);
  const [dgain, dbias] = [backend.floatOutput([width]), backend.floatOutput([width])];
  backend.addon.layerNormGrad(dy, x, gain, stats!, dx.array, dgain.array, dbias.array, rows, width);
  return [dx.info, dgain.info, dbias.info];
});

const rmsNorm = kernel<{ readonly epsilon: number }>(({ op, inputs, attrs, backend }) => {
  const [rows, width] = rowsOf(op, "x", inputs.x!);
  requireShape(op, "gain", inputs.gain!, [width]);
  const [x, gain] = [backend.floats(op, "x", inputs.x!), backend.floats(op, "gain", inputs.gain!)];
  const { info, array } = backend.floatOutput([rows, width]);
  const stats = backend.pool.take(rows);
  backend.keepWith(info, [stats]);
  backend.addon.rmsNorm(x, gain, array, stats, rows, width, attrs.epsilon);
  return info;
});

const rmsNormGrad = kernel(({ op, inputs, backend }) => {
  const [rows, width] = rowsOf(op, "x", inputs.x!);
  requireShape(op, "dy", inputs.dy!, [rows, width]);
  requireShape(op, "gain", inputs.gain!, [width]);
  const [stats] = backend.keptWith(op, inputs.y!);
  const [dy, x] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "x", inputs.x!)];
  const gain = backend.floats(op, "gain", inputs.gain!);
  const dx = backend.floatOutput([rows, width]);
  const dgain = backend.floatOutput([width]);
  backend.addon.rmsNormGrad(dy, x, gain, stats!, dx.array, dgain.array, rows, width);
  return [dx.info, dgain.info];
});

/** Sizes of q|k|v, checked. */
const headSizes = (op: string, name: string, qkv: tf.TensorInfo, { heads, kvHeads }: HeadAttributes) => {
  requireShape(op, name, qkv, ["batch", "time", "(heads + 2 kvHeads) headDim"]);
  const [batch, time, width] = qkv.shape as [number, number, number];
  const parts = heads + 2 * kvHeads;
  if (!(heads >= 1 && kvHeads >= 1) || heads % kvHeads !== 0 || width % parts !== 0) {
    const given = `[${qkv.shape.join(", ")}] with ${heads} heads and ${kvHeads} kvHeads`;
    throw new RangeError(`Cannot run ${op}: ${name} must divide into heads, got ${given}`);
  }
  return { batch, time, headDim: width / parts };
};

const segmentsOf = ({ op, inputs, backend }: KernelCall<HeadAttributes>, batch: number, time: number) => {
  if (!inputs.segments) return null;
  requireShape(op, "segments", inputs.segments, [batch, time]);
  return backend.ints(op, "segments", inputs.segments);
};

const attention = kernel<HeadAttributes & { readonly causal: boolean }>((call) => {
  const { op, inputs, attrs, backend } = call;
  const { batch, time, headDim } = headSizes(op, "qkv", inputs.qkv!, attrs);
  const { heads, kvHeads, causal } = attrs;
  const segments = segmentsOf(call, batch, time);
  const qkv = backend.floats(op, "qkv", inputs.qkv!);
  const { info, array } = backend.floatOutput([batch, time, heads * headDim]);
  const logSumExp = backend.pool.take(batch * heads * time);
  backend.keepWith(info, [logSumExp]);
  backend.addon.attention(qkv, segments, array, logSumExp, batch, time, heads, kvHeads, headDim, causal);
  return info;
});

const attentionGrad = kernel<HeadAttributes & { readonly causal: boolean }>((call) => {
  const { op, inputs, attrs, backend } = call;
  const { batch, time, headDim } = headSizes(op, "qkv", inputs.qkv!, attrs);
  const { heads, kvHeads, causal } = attrs;
  requireShape(op, "dy", inputs.dy!, [batch, time, heads * headDim]);
  requireShape(op, "y", inputs.y!, [batch, time, heads * headDim]);
  const segments = segmentsOf(call, batch, time);
  const [logSumExp] = backend.keptWith(op, inputs.y!);
  const [dy, qkv] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "qkv", inputs.qkv!)];
  const y = backend.floats(op, "y", inputs.y!);
  const { info, array } = backend.floatOutput(inputs.qkv!.shape);
  backend.addon.attentionGrad(
    dy,
    qkv,
    y,
    logSumExp!,
    segments,
    array,
    batch,
    time,
    heads,
    kvHeads,
    headDim,
    causal,
  );
  return info;
});

const rope = kernel<HeadAttributes & { readonly theta: number; readonly inverse: boolean }>(
  ({ op, inputs, attrs, backend }) => {
    const { batch, time, headDim } = headSizes(op, "qkv", inputs.qkv!, attrs);
    const { heads, kvHeads, theta, inverse } = attrs;
    requireShape(op, "positions", inputs.positions!, [batch, time]);
    const qkv = backend.floats(op, "qkv", inputs.qkv!);
    const positions = backend.ints(op, "positions", inputs.positions!);
    const { info, array } = backend.floatOutput(inputs.qkv!.shape);
    backend.addon.rope(qkv, positions, array, batch * time, heads, kvHeads, headDim, theta, inverse);
    return info;
  },
);

/** x [n, 2f] of a gated unit. */
const gatedSizes = (op: string, x: tf.TensorInfo): [rows: number, width: number] => {
  const [rows, both] = rowsOf(op, "x", x);
  if (both % 2 !== 0)
    throw new RangeError(`Cannot run ${op}: x must be [n, 2f], got [${x.shape.join(", ")}]`);
  return [rows, both / 2];
};

const swiglu = kernel(({ op, inputs, backend }) => {
  const [rows, width] = gatedSizes(op, inputs.x!);
  const x = backend.floats(op, "x", inputs.x!);
  const { info, array } = backend.floatOutput([rows, width]);
  backend.addon.swiglu(x, array, rows, width);
  return info;
});

const swigluGrad = kernel(({ op, inputs, backend }) => {
  const [rows, width] = gatedSizes(op, inputs.x!);
  requireShape(op, "dy", inputs.dy!, [rows, width]);
  const [dy, x] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "x", inputs.x!)];
  const { info, array } = backend.floatOutput([rows, 2 * width]);
  backend.addon.swigluGrad(dy, x, array, rows, width);
  return info;
});

const embed = kernel(({ op, inputs, backend }) => {
  const [vocab, width] = rowsOf(op, "weight", inputs.weight!);
  requireShape(op, "ids", inputs.ids!, ["n"]);
  const rows = inputs.ids!.shape[0]!;
  const weight = backend.floats(op, "weight", inputs.weight!);
  const ids = backend.ints(op, "ids", inputs.ids!);
  const { info, array } = backend.floatOutput([rows, width]);
  backend.addon.embed(weight, ids, array, rows, vocab, width);
  return info;
});

const embedGrad = kernel<{ readonly vocab: number }>(({ op, inputs, attrs, backend }) => {
  const [rows, width] = rowsOf(op, "dy", inputs.dy!);
  requireShape(op, "ids", inputs.ids!, [rows]);
  const [dy, ids] = [backend.floats(op, "dy", inputs.dy!), backend.ints(op, "ids", inputs.ids!)];
  const { info, array } = backend.floatOutput([attrs.vocab, width]);
  backend.addon.scatterAdd(dy, ids, array, rows, attrs.vocab, width);
  return info;
});

const tokenLogProbs = kernel<{ readonly temperature: number }>(({ op, inputs, attrs, backend }) => {
  const [rows, vocab] = rowsOf(op, "logits", inputs.logits!);
  requireShape(op, "ids", inputs.ids!, [rows]);
  const logits = backend.floats(op, "logits", inputs.logits!);
  const ids = backend.ints(op, "ids", inputs.ids!);
  const { info, array } = backend.floatOutput([rows]);
  const logSumExp = backend.pool.take(rows);
  backend.keepWith(info, [logSumExp]);
  backend.addon.tokenLogProbs(logits, ids, array, logSumExp, null, rows, vocab, attrs.temperature);
  return info;
});

const tokenLogProbsGrad = kernel<{ readonly temperature: number }>(({ op, inputs, attrs, backend }) => {
  const [rows, vocab] = rowsOf(op, "logits", inputs.logits!);
  requireShape(op, "dy", inputs.dy!, [rows]);
  requireShape(op, "ids", inputs.ids!, [rows]);
  const [logSumExp] = backend.keptWith(op, inputs.y!);
  const [dy, logits] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "logits", inputs.logits!)];
  const ids = backend.ints(op, "ids", inputs.ids!);
  const { info, array } = backend.floatOutput([rows, vocab]);
  backend.addon.tokenLogProbsGrad(dy, logits, ids, logSumExp!, array, rows, vocab, attrs.temperature);
  return info;
});

const unembeddingSizes = ({
  op,
  inputs,
}: KernelCall<unknown>): [rows: number, width: number, vocab: number] => {
  const [rows, width] = rowsOf(op, "hidden", inputs.hidden!);
  requireShape(op, "unembedding", inputs.unembedding!, ["vocab", width]);
  requireShape(op, "ids", inputs.ids!, [rows]);
  return [rows, width, inputs.unembedding!.shape[0]!];
};

/**
 * Up to this many logits (64 MiB) are kept for the gradient instead of being computed again, which is an eighth of
 * the work of a small model's training step.
 */
const keptLogits = 2 ** 24;

const linearTokenLogProbs = kernel<{ readonly temperature: number }>((call) => {
  const { op, inputs, attrs, backend } = call;
  const [rows, width, vocab] = unembeddingSizes(call);
  const hidden = backend.floats(op, "hidden", inputs.hidden!);
  const unembedding = backend.floats(op, "unembedding", inputs.unembedding!);
  const ids = backend.ints(op, "ids", inputs.ids!);
  const [logProbs, entropy] = [backend.floatOutput([rows]), backend.floatOutput([rows])];
  const logSumExp = backend.pool.take(rows);
  const logits = rows * vocab <= keptLogits ? backend.pool.take(rows * vocab) : null;
  backend.keepWith(logProbs.info, logits ? [logSumExp, logits] : [logSumExp]);
  backend.addon.linearTokenLogProbs(
    hidden,
    unembedding,
    ids,
    logProbs.array,
    entropy.array,
    logSumExp,
    rows,
    width,
    vocab,
    attrs.temperature,
    logits,
  );
  return [logProbs.info, entropy.info];
});

const linearTokenLogProbsGrad = kernel<{ readonly temperature: number }>((call) => {
  const { op, inputs, attrs, backend } = call;
  const [rows, width, vocab] = unembeddingSizes(call);
  requireShape(op, "dy", inputs.dy!, [rows]);
  const [logSumExp, logits] = backend.keptWith(op, inputs.logProbs!);
  const [dy, hidden] = [backend.floats(op, "dy", inputs.dy!), backend.floats(op, "hidden", inputs.hidden!)];
  const unembedding = backend.floats(op, "unembedding", inputs.unembedding!);
  const ids = backend.ints(op, "ids", inputs.ids!);
  const [dhidden, dunembedding] = [backend.floatOutput([rows, width]), backend.floatOutput([vocab, width])];
  backend.addon.linearTokenLogProbsGrad(
    dy,
    hidden,
    unembedding,
    ids,
    logSumExp!,
    dhidden.array,
    dunembedding.array,
    rows,
    width,
    vocab,
    attrs.temperature,
    logits ?? null,
  );
  return [dhidden.info, dunembedding.info];
});

const sample = kernel<{ readonly temperature: number; readonly topK: number; readonly topP: number }>(
  ({ op, inputs, attrs, backend }) => {
    const [rows, vocab] = rowsOf(op, "logits", inputs.logits!);
    requireShape(op, "uniforms", inputs.uniforms!, [rows]);
    const { temperature, topK, topP } = attrs;
    const logits = backend.floats(op, "logits", inputs.logits!);
    const uniforms = backend.floats(op, "uniforms", inputs.uniforms!);
    const ids = new Int32Array(rows);
    const logProbs = backend.floatOutput([rows]);
    backend.addon.sample(logits, uniforms, ids, logProbs.array, rows, vocab, temperature, topK, topP);
    return [backend.output([rows], "int32", ids), logProbs.info];
  },
);

export const fusedKernels: Record<string, NativeKernel> = {
  RlhfLinear: linear,
  RlhfLinearGrad: linearGrad,
  RlhfLayerNorm: layerNorm,
  RlhfLayerNormGrad: layerNormGrad,
  RlhfRmsNorm: rmsNorm,
  RlhfRmsNormGrad: rmsNormGrad,
  RlhfAttention: attention,
  RlhfAttentionGrad: attentionGrad,
  RlhfRope: rope,
  RlhfSwiglu: swiglu,
  RlhfSwigluGrad: swigluGrad,
  RlhfEmbed: embed,
  RlhfEmbedGrad: embedGrad,
  RlhfTokenLogProbs: tokenLogProbs,
  RlhfTokenLogProbsGrad: tokenLogProbsGrad,
  RlhfLinearTokenLogProbs: linearTokenLogProbs,
  RlhfLinearTokenLogProbsGrad: linearTokenLogProbsGrad,
  RlhfSample: sample,
};
