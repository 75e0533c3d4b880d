/** Decoding with a cache of keys and values that lives outside of tfjs. */
import type * as tf from "@tensorflow/tfjs-core";
import { type KernelResult, kernel, type NativeKernel } from "./_kernel.ts";
import { activationNumbers } from "./fused_kernels.ts";

interface Spec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: string;
  readonly ropeTheta?: number | undefined;
}
interface Affine {
  readonly weight: tf.TensorInfo;
  readonly bias?: tf.TensorInfo | undefined;
}
interface Norm {
  readonly gain: tf.TensorInfo;
  readonly bias?: tf.TensorInfo | undefined;
}
interface Weights {
  readonly tokenEmbedding: tf.TensorInfo;
  readonly positionEmbedding?: tf.TensorInfo | undefined;
  readonly blocks: ReadonlyArray<{
    readonly attentionNorm: Norm;
    readonly qkv: Affine;
    readonly attentionOut: Affine;
    readonly feedForwardNorm: Norm;
    readonly up: Affine;
    readonly down: Affine;
  }>;
  readonly finalNorm: Norm;
  readonly unembedding: tf.TensorInfo;
}

/** Positions that the addon stores together (`DecodeLayer::kBlock`). */
const block = 16;
const swiglu = 5;

/** Keys and values of every layer, for `slots` sequences of up to `length` tokens. */
class NativeKvCache {
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
  keys: Float32Array[];
  values: Float32Array[];

  constructor(size: { layers: number; slots: number; length: number }, perPosition: number) {
    this.layers = size.layers;
    this.slots = size.slots;
    this.length = size.length;
    const elements = size.slots * Math.ceil(size.length / block) * block * perPosition;
    this.keys = Array.from({ length: size.layers }, () => new Float32Array(elements));
    this.values = Array.from({ length: size.layers }, () => new Float32Array(elements));
  }

  dispose(): void {
    this.keys = [];
    this.values = [];
  }
}

const createKvCache = kernel<{ spec: Spec; layers: number; slots: number; length: number }>(({ attrs }) => {
  const { spec, ...size } = attrs;
  // The one kernel whose result is no tensor; it is called directly, not through tfjs's engine.
  return new NativeKvCache(size, spec.kvHeads * spec.headDim) as unknown as KernelResult;
});

const decodeStep = kernel<{
  spec: Spec;
  weights: Weights;
  cache: NativeKvCache;
  ids: Int32Array;
  slots: Int32Array;
  positions: Int32Array;
  outputRows: Int32Array;
}>(({ op, attrs, backend }) => {
  const { spec, weights, cache, ids, slots, positions, outputRows } = attrs;
  if (!(cache instanceof NativeKvCache) || cache.keys.length === 0) {
    throw new TypeError(`Cannot run ${op}: the cache must come from RlhfCreateKvCache and not be disposed`);
  }
  const activation = spec.activation === "swiglu" ? swiglu : activationNumbers[spec.activation];
  if (activation === undefined)
    throw new RangeError(`Cannot run ${op}: unknown activation ${spec.activation}`);
  const read = (name: string, tensor: tf.TensorInfo | undefined): Float32Array | null =>
    tensor ? backend.floats(op, name, tensor) : null;
  const norm = ({ gain, bias }: Norm) => [read("gain", gain), read("bias", bias)];
  const affine = ({ weight, bias }: Affine) => [read("weight", weight), read("bias", bias)];
  const arrays = [
    read("tokenEmbedding", weights.tokenEmbedding),
    read("positionEmbedding", weights.positionEmbedding),
    ...weights.blocks.flatMap((layer) => [
      ...norm(layer.attentionNorm),
      ...affine(layer.qkv),
      ...affine(layer.attentionOut),
      ...norm(layer.feedForwardNorm),
      ...affine(layer.up),
      ...affine(layer.down),
    ]),
    ...norm(weights.finalNorm),
    read("unembedding", weights.unembedding),
  ];
  const [vocab, width] = weights.tokenEmbedding.shape as [number, number];
  const { heads, kvHeads, headDim } = spec;
  const decoder = [
    vocab,
    width,
    weights.positionEmbedding?.shape[0] ?? 0,
    weights.blocks[0]?.down.weight.shape[0] ?? 1,
    heads,
    kvHeads,
    headDim,
    cache.slots,
    cache.length,
    cache.layers,
    spec.norm === "rms" ? 1 : 0,
    spec.epsilon,
    activation,
    spec.ropeTheta ?? 0,
  ];
  const { info, array } = backend.floatOutput([outputRows.length, vocab]);
  const { keys, values } = cache;
  const [rows, outputs] = [ids.length, outputRows.length];
  backend.addon.decodeStep(
    arrays,
    keys,
    values,
    ids,
    slots,
    positions,
    outputRows,
    array,
    rows,
    outputs,
    decoder,
  );
  return info;
});

export const decodeKernels: Record<string, NativeKernel> = {
  RlhfCreateKvCache: createKvCache,
  RlhfDecodeStep: decodeStep,
};
