/** Decoding with keys and values that stay on the GPU from step to step. */
import * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { lowest, program, reductions, threads } from "./_program.ts";
import type { WebGpuBackend } from "./backend.ts";
import { layerKernels } from "./layer_kernels.ts";
import { normKernels } from "./norm_kernels.ts";

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

/** Keys and values of every layer, `[slots · length, kvHeads · headDim]`, written in place. */
class GpuKvCache {
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
  readonly keys: ReadonlyArray<tf.TensorInfo>;
  readonly values: ReadonlyArray<tf.TensorInfo>;
  readonly #backend: WebGpuBackend;

  constructor(
    backend: WebGpuBackend,
    size: { readonly layers: number; readonly slots: number; readonly length: number },
    perPosition: number,
  ) {
    this.#backend = backend;
    this.layers = size.layers;
    this.slots = size.slots;
    this.length = size.length;
    const empty = () => backend.output([size.slots * size.length, perPosition]);
    this.keys = Array.from({ length: size.layers }, empty);
    this.values = Array.from({ length: size.layers }, empty);
  }

  dispose(): void {
    this.#backend.free(...this.keys, ...this.values);
  }
}

const createKvCache = kernel<
  never,
  { readonly spec: Spec; readonly layers: number; readonly slots: number; readonly length: number }
>(({ attrs, backend }) => {
  const { spec, ...size } = attrs;
  // The one kernel that answers with no tensor.
  return new GpuKvCache(backend, size, spec.kvHeads * spec.headDim) as unknown as tf.TensorInfo;
});

const writeProgram = program({
  key: "cache write",
  buffers: {
    qkv: "in f32",
    slots: "in i32",
    positions: "in i32",
    keys: "inout f32",
    values: "inout f32",
  },
  ints: ["size", "perPosition", "qkvWidth", "keyStart", "length"],
  main: `
  let i = index * threads + lane;
  if (i >= u.size) { return; }
  let row = i / u.perPosition;
  let column = i % u.perPosition;
  let source = row * u.qkvWidth + u.keyStart + column;
  let place = (u32(slots[row]) * u.length + u32(positions[row])) * u.perPosition + column;
  keys[place] = qkv[source];
  values[place] = qkv[source + u.perPosition];`,
});

/** A workgroup takes one head of one row and walks over the row's context, 64 keys at a time. */
const attendProgram = (headDim: number) =>
  program({
    key: `cache attention ${headDim}`,
    buffers: {
      qkv: "in f32",
      slots: "in i32",
      positions: "in i32",
      keys: "in f32",
      values: "in f32",
      y: "out f32",
    },
    ints: ["rows", "heads", "kvHeads", "length"],
    threads: 64,
    declarations: `${reductions}
const dim = ${headDim}u;
const owned = ${Math.ceil(headDim / 64)}u;
var<workgroup> query: array<f32, ${headDim}>;
var<workgroup> weights: array<f32, threads>;
var<workgroup> context: u32;`,
    main: `
  let row = index / u.heads;
  let head = index % u.heads;
  if (row >= u.rows) { return; }
  if (lane == 0u) { context = u32(positions[row]) + 1u; }
  let count = workgroupUniformLoad(&context);
  let width = (u.heads + 2u * u.kvHeads) * dim;
  for (var d = lane; d < dim; d += threads) { query[d] = qkv[row * width + head * dim + d]; }
  let stride = u.kvHeads * dim;
  let start = u32(slots[row]) * u.length * stride + head / (u.heads / u.kvHeads) * dim;
  var mixed: array<f32, owned>;
  var top = ${lowest};
  var sum = 0.0;
  for (var first = 0u; first < count; first += threads) {
    workgroupBarrier();
    let key = first + lane;
    var score = ${lowest};
    if (key < count) {
      score = 0.0;
      for (var d = 0u; d < dim; d++) { score += query[d] * keys[start + key * stride + d]; }
      score *= ${1 / Math.sqrt(headDim)};
    }
    let newTop = max(top, maxOver(score, lane));
    let weight = select(0.0, exp(score - newTop), key < count);
    let shrink = exp(top - newTop);
    sum = sum * shrink + sumOver(weight, lane);
    weights[lane] = weight;
    workgroupBarrier();
    for (var k = 0u; k < owned; k++) {
      let d = lane + k * threads;
      var value = mixed[k] * shrink;
      if (d < dim) {
        for (var j = 0u; j < min(threads, count - first); j++) {
          value += weights[j] * values[start + (first + j) * stride + d];
        }
      }
      mixed[k] = value;
    }
    top = newTop;
  }
  for (var k = 0u; k < owned; k++) {
    let d = lane + k * threads;
    if (d < dim) { y[(row * u.heads + head) * dim + d] = mixed[k] / sum; }
  }`,
  });

/** Runs fused kernels whose outputs live until `freeAllBut`. */
const workshop = (backend: WebGpuBackend) => {
  let made: tf.TensorInfo[] = [];
  const own = (tensor: tf.TensorInfo) => {
    made.push(tensor);
    return tensor;
  };
  const run = (
    op: string,
    inputs: Readonly<Record<string, tf.TensorInfo | undefined>>,
    attrs: object = {},
  ) => {
    const given = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor));
    const kernel = layerKernels[op] ?? normKernels[op]!;
    return own(kernel({ op, inputs: given, attrs, backend } as never) as tf.TensorInfo);
  };
  return {
    own,
    ints: (values: Int32Array) => own(backend.makeTensorInfo([values.length], "int32", values)),
    add: (a: tf.TensorInfo, b: tf.TensorInfo) =>
      own(tf.getKernel(tf.Add, "webgpu").kernelFunc({ inputs: { a, b }, backend }) as tf.TensorInfo),
    norm: (spec: Spec, x: tf.TensorInfo, { gain, bias }: Norm) =>
      spec.norm === "rms"
        ? run("RlhfRmsNorm", { x, gain }, spec)
        : run("RlhfLayerNorm", { x, gain, bias }, spec),
    linear: (
      x: tf.TensorInfo,
      { weight, bias }: Affine,
      options: { activation?: string; residual?: tf.TensorInfo; transposeWeight?: boolean } = {},
    ) => {
      const { activation = null, residual, transposeWeight = false } = options;
      return run("RlhfLinear", { x, weight, bias, residual }, { activation, transposeWeight });
    },
    embed: (weight: tf.TensorInfo, ids: tf.TensorInfo) => run("RlhfEmbed", { weight, ids }),
    rope: (spec: Spec, qkv: tf.TensorInfo, positions: tf.TensorInfo) =>
      run("RlhfRope", { qkv, positions }, { ...spec, theta: spec.ropeTheta, inverse: false }),
    swiglu: (x: tf.TensorInfo) => run("RlhfSwiglu", { x }),
    freeAllBut: (...kept: ReadonlyArray<tf.TensorInfo>) => {
      backend.free(...made.filter((tensor) => !kept.includes(tensor)));
      made = [...kept];
    },
  };
};

const decodeStep = kernel<
  never,
  {
    readonly spec: Spec;
    readonly weights: Weights;
    readonly cache: GpuKvCache;
    readonly ids: Int32Array;
    readonly slots: Int32Array;
    readonly positions: Int32Array;
    readonly outputRows: Int32Array;
  }
>(({ attrs, backend }) => {
  const { spec, weights, cache } = attrs;
  const { heads, kvHeads, headDim, activation } = spec;
  const { own, ints, add, norm, linear, embed, rope, swiglu, freeAllBut } = workshop(backend);
  const rows = attrs.ids.length;
  const [ids, slots, positions] = [ints(attrs.ids), ints(attrs.slots), ints(attrs.positions)];
  const attend = attendProgram(headDim);
  let x = embed(weights.tokenEmbedding, ids);
  if (weights.positionEmbedding) x = add(x, embed(weights.positionEmbedding, positions));
  for (const [layer, block] of weights.blocks.entries()) {
    let qkv = linear(norm(spec, x, block.attentionNorm), block.qkv);
    if (spec.ropeTheta !== undefined) qkv = rope(spec, qkv, positions);
    const [keys, values] = [cache.keys[layer]!, cache.values[layer]!];
    const perPosition = kvHeads * headDim;
    const { length } = cache;
    backend.run(writeProgram, {
      tensors: { qkv, slots, positions, keys, values },
      uniforms: {
        size: rows * perPosition,
        perPosition,
        qkvWidth: qkv.shape[1]!,
        keyStart: heads * headDim,
        length,
      },
      groups: Math.ceil((rows * perPosition) / threads),
    });
    const y = own(backend.output([rows, heads * headDim]));
    backend.run(attend, {
      tensors: { qkv, slots, positions, keys, values, y },
      uniforms: { rows, heads, kvHeads, length },
      groups: rows * heads,
    });
    const attended = linear(y, block.attentionOut, { residual: x });
    const normed = norm(spec, attended, block.feedForwardNorm);
    const inner =
      activation === "swiglu" ? swiglu(linear(normed, block.up)) : linear(normed, block.up, { activation });
    x = linear(inner, block.down, { residual: attended });
    freeAllBut(x, slots, positions);
  }
  const last = norm(spec, embed(x, ints(attrs.outputRows)), weights.finalNorm);
  const logits = linear(last, { weight: weights.unembedding }, { transposeWeight: true });
  freeAllBut(logits);
  return logits;
});

export const decodeKernels: Record<string, Kernel> = {
  RlhfCreateKvCache: createKvCache,
  RlhfDecodeStep: decodeStep,
};
