import * as tf from "@tensorflow/tfjs-core";
import { assertRange, assertShape } from "./_shapes.ts";
import { embed } from "./embed.ts";
import { type Activation, hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { swiglu } from "./swiglu.ts";

/** Gain `[d]` and, for layer norms, bias `[d]`. */
export interface NormWeights {
  readonly gain: tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
}

/** Weight `[in, out]` and bias `[out]`. */
export interface LinearWeights {
  readonly weight: tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
}

export interface DecoderBlockWeights {
  readonly attentionNorm: NormWeights;
  /** `[d, (heads + 2 kvHeads) headDim]`, laid out as `attention` wants it. */
  readonly qkv: LinearWeights;
  /** `[heads · headDim, d]`. */
  readonly attentionOut: LinearWeights;
  readonly feedForwardNorm: NormWeights;
  /** `[d, f]`, or `[d, 2f]` (gate, then up) where the activation is swiglu. */
  readonly up: LinearWeights;
  /** `[f, d]`. */
  readonly down: LinearWeights;
}

/** Weights of a pre-norm decoder: GPT-2 and the Llama family. */
export interface DecoderWeights {
  /** `[vocab, d]`. */
  readonly tokenEmbedding: tf.Tensor;
  /** `[context, d]`. */
  readonly positionEmbedding?: tf.Tensor | undefined;
  readonly blocks: ReadonlyArray<DecoderBlockWeights>;
  readonly finalNorm: NormWeights;
  /** `[vocab, d]`, often the token embedding itself. */
  readonly unembedding: tf.Tensor;
}

/** What a decoder is made of, apart from its weights. */
export interface DecoderSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly norm: "layer" | "rms";
  readonly epsilon: number;
  readonly activation: Activation | "swiglu";
  /** Base of the rotary wavelengths; absent: no rotary embedding. */
  readonly ropeTheta?: number | undefined;
}

/** Keys and values of the sequences that are being decoded, one per slot. */
export interface KvCache {
  readonly layers: number;
  readonly slots: number;
  /** Positions per slot. */
  readonly length: number;
  dispose(): void;
}

/** A cache made of two tensors per layer, `[slots · length, kvHeads · headDim]`, replaced at each step. */
class ComposedKvCache implements KvCache {
  readonly layers: number;
  readonly slots: number;
  readonly length: number;
  readonly keys: tf.Tensor[];
  readonly values: tf.Tensor[];

  constructor(width: number, size: { layers: number; slots: number; length: number }) {
    this.layers = size.layers;
    this.slots = size.slots;
    this.length = size.length;
    const empty = () => tf.keep(tf.zeros([size.slots * size.length, width]));
    this.keys = Array.from({ length: size.layers }, empty);
    this.values = Array.from({ length: size.layers }, empty);
  }

  dispose(): void {
    tf.dispose([this.keys, this.values]);
  }
}

/**
 * An empty cache for `slots` sequences of up to `length` tokens. The caller disposes it. A slot is reused by
 * writing to it again from position 0.
 */
export const createKvCache = (
  spec: DecoderSpec,
  size: { readonly layers: number; readonly slots: number; readonly length: number },
): KvCache => {
  if (!hasFusedKernel("RlhfDecodeStep")) return new ComposedKvCache(spec.kvHeads * spec.headDim, size);
  const create = tf.getKernel("RlhfCreateKvCache", tf.getBackend()).kernelFunc;
  const attrs = { spec, ...size } as unknown as tf.NamedAttrMap;
  return create({ inputs: {}, attrs, backend: tf.backend() }) as unknown as KvCache;
};

const task = "decode";

/**
 * A ragged decoding step: prefill, decoding and continuous batching in one operation.
 *
 * Row i is the token `ids[i]` of the sequence in slot `slots[i]`, at position `positions[i]`. Keys and values of all
 * rows enter the cache first; then row i attends to positions 0 … `positions[i]` of its slot. So a prompt of p
 * tokens is p rows, and a step may mix prompts with single tokens.
 *
 * @param options.cache from `createKvCache` under the same backend; written in place
 * @param options.ids `[n]`
 * @param options.slots `[n]`
 * @param options.positions `[n]`; what lies before them in the slot has been written, now or in an earlier step
 * @param options.outputRows `[m]`, the rows whose next token is wanted
 * @returns logits `[m, vocab]`
 * @throws RangeError when lengths differ or a slot, position or row does not exist
 */
export const decodeStep = (options: {
  readonly spec: DecoderSpec;
  readonly weights: DecoderWeights;
  readonly cache: KvCache;
  readonly ids: Int32Array;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
  readonly outputRows: Int32Array;
}): tf.Tensor2D => {
  const { weights, cache, ids, slots, positions, outputRows } = options;
  const rows = ids.length;
  assertRange(task, rows > 0 && outputRows.length > 0, "there must be at least one row and one output row");
  assertRange(
    task,
    slots.length === rows && positions.length === rows,
    `ids, slots and positions must be equally long, got ${rows}, ${slots.length} and ${positions.length}`,
  );
  assertBelow("ids", ids, weights.tokenEmbedding.shape[0]!);
  assertBelow("slots", slots, cache.slots);
  const context = weights.positionEmbedding?.shape[0] ?? Number.POSITIVE_INFINITY;
  assertBelow("positions", positions, Math.min(cache.length, context));
  assertBelow("outputRows", outputRows, rows);
  assertRange(
    task,
    weights.blocks.length === cache.layers,
    `the cache must have ${weights.blocks.length} layers, got ${cache.layers}`,
  );
  if (cache instanceof ComposedKvCache) return composedDecodeStep({ ...options, cache });
  return runFusedKernel("RlhfDecodeStep", {}, options)[0];
};

const assertBelow = (name: string, values: Int32Array, limit: number): void => {
  const bad = values.find((value) => value < 0 || value >= limit);
  assertRange(task, bad === undefined, `${name} must lie in [0, ${limit}), got ${bad}`);
};

const composedDecodeStep = (options: {
  readonly spec: DecoderSpec;
  readonly weights: DecoderWeights;
  readonly cache: ComposedKvCache;
  readonly ids: Int32Array;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
  readonly outputRows: Int32Array;
}): tf.Tensor2D => {
  const { spec, weights, cache, positions } = options;
  const { heads, kvHeads, headDim } = spec;
  const rows = positions.length;
  const norm = (x: tf.Tensor2D, { gain, bias }: NormWeights): tf.Tensor2D => {
    if (spec.norm === "rms") return rmsNorm(x, gain, spec.epsilon);
    if (!bias) throw new RangeError(`Cannot ${task}: a layer norm needs a bias`);
    return layerNorm(x, gain, bias, spec.epsilon);
  };
  return tf.tidy(() => {
    const plan = planAttention(options);
    const positionIds = tf.tensor1d(positions, "int32");
    let x = embed(weights.tokenEmbedding, tf.tensor1d(options.ids, "int32")) as tf.Tensor2D;
    if (weights.positionEmbedding) x = tf.add(x, embed(weights.positionEmbedding, positionIds));
    assertShape(task, "hidden states", x, [rows, weights.unembedding.shape[1]!]);

    weights.blocks.forEach((block, layer) => {
      x = tf.tidy(() => {
        let qkv = linear(norm(x, block.attentionNorm), block.qkv.weight, { bias: block.qkv.bias });
        if (spec.ropeTheta !== undefined) {
          const rotated = rope(tf.expandDims(qkv, 1) as tf.Tensor3D, {
            heads,
            kvHeads,
            theta: spec.ropeTheta,
            positions: tf.expandDims(positionIds, 1) as tf.Tensor2D,
          });
          qkv = tf.squeeze(rotated, [1]);
        }
        const [query, key, value] = tf.split(
          qkv,
          [heads * headDim, kvHeads * headDim, kvHeads * headDim],
          1,
        ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        cache.keys[layer] = written(cache.keys[layer]!, plan.sources, key);
        cache.values[layer] = written(cache.values[layer]!, plan.sources, value);
        const mixed = attendToCache(query, cache.keys[layer]!, cache.values[layer]!, plan, spec);
        const { attentionOut, up, down } = block;
        const attended = linear(mixed, attentionOut.weight, { bias: attentionOut.bias, residual: x });
        const normed = norm(attended, block.feedForwardNorm);
        const inner =
          spec.activation === "swiglu"
            ? swiglu(linear(normed, up.weight, { bias: up.bias }))
            : linear(normed, up.weight, { bias: up.bias, activation: spec.activation });
        return linear(inner, down.weight, { bias: down.bias, residual: attended });
      });
    });
    const last = tf.gather(x, tf.tensor1d(options.outputRows, "int32"));
    return linear(norm(last, weights.finalNorm), weights.unembedding, { transposeWeight: true });
  });
};

/** How rows are laid out for attention: by slot, each slot's rows padded to those of the busiest. */
interface AttentionPlan {
  readonly slots: number;
  readonly rowsPerSlot: number;
  /** The longest context of any row. */
  readonly context: number;
  /** int32 `[slots · rowsPerSlot]`: which row stands there (any row, where there is none). */
  readonly arranged: tf.Tensor1D;
  /** int32 `[n]`: where each row stands. */
  readonly places: tf.Tensor1D;
  /** int32 `[cache rows]`: where each row of the next cache comes from, in the old cache with the new rows behind. */
  readonly sources: tf.Tensor1D;
  /** int32 `[slots · context]`: the cache rows that are read. */
  readonly read: tf.Tensor1D;
  /** `[slots, 1, rowsPerSlot, context]`: 0 where a row sees a position, a huge negative number elsewhere. */
  readonly mask: tf.Tensor4D;
}

const planAttention = (options: {
  readonly cache: KvCache;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
}): AttentionPlan => {
  const { cache, slots, positions } = options;
  const rowsOfSlot = new Map<number, number[]>();
  slots.forEach((slot, row) => {
    const rows = rowsOfSlot.get(slot);
    if (rows) rows.push(row);
    else rowsOfSlot.set(slot, [row]);
  });
  const context = positions.reduce((a, b) => Math.max(a, b), 0) + 1;
  const rowsPerSlot = Math.max(...[...rowsOfSlot.values()].map((rows) => rows.length));

  const cacheRows = cache.slots * cache.length;
  const sources = Int32Array.from({ length: cacheRows }, (_, row) => row);
  const arranged = new Int32Array(rowsOfSlot.size * rowsPerSlot);
  const places = new Int32Array(slots.length);
  const read = new Int32Array(rowsOfSlot.size * context);
  const mask = new Float32Array(arranged.length * context);
  [...rowsOfSlot].forEach(([slot, rows], group) => {
    for (let position = 0; position < context; position++) {
      read[group * context + position] = slot * cache.length + position;
    }
    rows.forEach((row, index) => {
      const place = group * rowsPerSlot + index;
      arranged[place] = row;
      places[row] = place;
      sources[slot * cache.length + positions[row]!] = cacheRows + row;
      mask.fill(-1e30, place * context + positions[row]! + 1, (place + 1) * context);
    });
  });
  return {
    slots: rowsOfSlot.size,
    rowsPerSlot,
    context,
    arranged: tf.tensor1d(arranged, "int32"),
    places: tf.tensor1d(places, "int32"),
    sources: tf.tensor1d(sources, "int32"),
    read: tf.tensor1d(read, "int32"),
    mask: tf.tensor4d(mask, [rowsOfSlot.size, 1, rowsPerSlot, context]),
  };
};

/** The cache with some rows replaced, outside of every tidy; the old one is freed. */
const written = (cache: tf.Tensor, sources: tf.Tensor1D, rows: tf.Tensor2D): tf.Tensor => {
  const next = tf.keep(tf.gather(tf.concat([cache, rows]), sources));
  cache.dispose();
  return next;
};

const attendToCache = (
  query: tf.Tensor2D,
  keys: tf.Tensor,
  values: tf.Tensor,
  plan: AttentionPlan,
  spec: DecoderSpec,
): tf.Tensor2D => {
  const { heads, kvHeads, headDim } = spec;
  const { slots, rowsPerSlot, context } = plan;
  const headMajor = (x: tf.Tensor, rows: number) => {
    const byHead = tf.transpose(tf.reshape(x, [slots, rows, -1, headDim]), [0, 2, 1, 3]);
    return tf.reshape(byHead, [slots * kvHeads, -1, headDim]);
  };
  const q = headMajor(tf.gather(query, plan.arranged), rowsPerSlot);
  const k = headMajor(tf.gather(keys, plan.read), context);
  const v = headMajor(tf.gather(values, plan.read), context);
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(headDim));
  const masked = tf.add(tf.reshape(scores, [slots, heads, rowsPerSlot, context]), plan.mask);
  const weights = tf.reshape(tf.softmax(masked), [slots * kvHeads, -1, context]);
  const mixed = tf.reshape(tf.matMul(weights, v), [slots, heads, rowsPerSlot, headDim]);
  const byRow = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [slots * rowsPerSlot, heads * headDim]);
  return tf.gather(byRow, plan.places) as tf.Tensor2D;
};
