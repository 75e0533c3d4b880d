/** Decoding with a cache of keys and values that lives outside of tfjs. */
import type * as tf from "@tensorflow/tfjs-core";
import { type KernelResult, kernel, type NativeKernel, requireShape } from "./_kernel.ts";
import { type NativeBackend, sizeOf } from "./backend.ts";
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

/** The number of the gated activation in the addon. */
const swiglu = 5;

/** A weight as products read it fastest, and the content that it was made from. */
interface PackedWeight {
  readonly data: object;
  readonly writes: number;
  readonly array: Float32Array;
}
/** Models with more elements than this (1 GiB) are not held a second time. */
const packedLimit = 2 ** 28;

/**
 * Keys and values of every layer, for `slots` sequences of up to `length` tokens; and the packed weights, which are
 * worth their cost over the many steps that a cache serves.
 */
class NativeKvCache {
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
  keys: Float32Array[];
  values: Float32Array[];
  readonly #backend: NativeBackend;
  readonly #packed = new Map<number, PackedWeight>();

  constructor(
    backend: NativeBackend,
    size: { readonly layers: number; readonly slots: number; readonly length: number },
    perPosition: number,
  ) {
    this.#backend = backend;
    this.layers = size.layers;
    this.slots = size.slots;
    this.length = size.length;
    const array = () => backend.pool.take(size.slots * size.length * perPosition);
    this.keys = Array.from({ length: size.layers }, array);
    this.values = Array.from({ length: size.layers }, array);
  }

  /** The packed form of the weight at a place among the weights, made anew when the weight has changed. */
  packed(place: number, weight: tf.TensorInfo, array: Float32Array, transposed: boolean): Float32Array {
    const backend = this.#backend;
    const { data, writes } = backend.contentOf(weight);
    const known = this.#packed.get(place);
    if (known && known.data === data && known.writes === writes) return known.array;
    const [rows, columns] = weight.shape as [number, number];
    const [k, n] = transposed ? [columns, rows] : [rows, columns];
    if (known) backend.pool.give(known.array);
    const packed = backend.pool.take(backend.addon.packedSize(k, n));
    backend.addon.packWeight(array, k, n, transposed, packed);
    this.#packed.set(place, { data, writes, array: packed });
    return packed;
  }

  dispose(): void {
    const packed = [...this.#packed.values()].map(({ array }) => array);
    for (const array of [...this.keys, ...this.values, ...packed]) this.#backend.pool.give(array);
    this.keys = [];
    this.values = [];
    this.#packed.clear();
  }
}

const createKvCache = kernel<{ spec: Spec; layers: number; slots: number; length: number }>(
  ({ attrs, backend }) => {
    const { spec, ...size } = attrs;
    // The one kernel whose result is no tensor; it is called directly, not through tfjs's engine.
    return new NativeKvCache(backend, size, spec.kvHeads * spec.headDim) as unknown as KernelResult;
  },
);

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
  const { blocks, unembedding } = weights;
  const elements = blocks.reduce(
    (sum, { qkv, attentionOut, up, down }) =>
      sum + [qkv, attentionOut, up, down].reduce((s, { weight }) => s + sizeOf(weight.shape), 0),
    sizeOf(unembedding.shape),
  );
  const packable = elements <= packedLimit;
  const activation = spec.activation === "swiglu" ? swiglu : activationNumbers[spec.activation];
  if (activation === undefined)
    throw new RangeError(`Cannot run ${op}: unknown activation ${spec.activation}`);
  const arrays: Array<Float32Array | null> = [];
  const packed: Array<Float32Array | null> = [];
  const add = (
    name: string,
    tensor: tf.TensorInfo | undefined,
    layout: "plain" | "packed" | "packed transposed",
  ) => {
    const array = tensor ? backend.floats(op, name, tensor) : null;
    const pack = array && layout !== "plain" && packable;
    packed.push(pack ? cache.packed(arrays.length, tensor!, array, layout === "packed transposed") : null);
    arrays.push(array);
  };
  const norm = ({ gain, bias }: Norm) => {
    add("gain", gain, "plain");
    add("bias", bias, "plain");
  };
  const affine = ({ weight, bias }: Affine) => {
    requireShape(op, "weight", weight, ["in", "out"]);
    add("weight", weight, "packed");
    add("bias", bias, "plain");
  };
  requireShape(op, "tokenEmbedding", weights.tokenEmbedding, ["vocab", "width"]);
  requireShape(op, "unembedding", weights.unembedding, weights.tokenEmbedding.shape);
  add("tokenEmbedding", weights.tokenEmbedding, "plain");
  add("positionEmbedding", weights.positionEmbedding, "plain");
  for (const layer of weights.blocks) {
    norm(layer.attentionNorm);
    affine(layer.qkv);
    affine(layer.attentionOut);
    norm(layer.feedForwardNorm);
    affine(layer.up);
    affine(layer.down);
  }
  norm(weights.finalNorm);
  add("unembedding", weights.unembedding, "packed transposed");
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
    packed,
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
