/** Ragged decoding from plain tfjs operations, for backends without the fused kernel. */
import * as tf from "@tensorflow/tfjs-core";
import { assertShape } from "./_shapes.ts";
import type { DecoderSpec, DecoderWeights, KvCache, NormWeights } from "./decoder.ts";
import { embed } from "./embed.ts";
import { normHeads } from "./head_norm.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rope } from "./rope.ts";
import { swiglu } from "./swiglu.ts";

const task = "decode";

/** A cache made of two tensors per layer, `[slots · length, kvHeads · headDim]`, replaced at each step. */
export class ComposedKvCache implements KvCache {
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

/** `decodeStep` on such a cache; its input has been checked. */
export const composedDecodeStep = (options: {
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
        if (spec.headNorm) {
          const { queryNorm, keyNorm } = block;
          if (!queryNorm || !keyNorm) throw new RangeError(`Cannot ${task}: head norms need their gains`);
          qkv = normHeads(qkv, {
            heads,
            kvHeads,
            queryGain: queryNorm,
            keyGain: keyNorm,
            epsilon: spec.epsilon,
          });
        }
        if (spec.ropeTheta !== undefined) {
          const rotated = rope(tf.expandDims(qkv, 1) as tf.Tensor3D, {
            heads,
            kvHeads,
            theta: spec.ropeTheta,
            scaling: spec.ropeScaling,
            positions: tf.expandDims(positionIds, 1) as tf.Tensor2D,
          });
          qkv = tf.squeeze(rotated, [1]);
        }
        const [query, key, value] = tf.split(
          qkv,
          [heads * headDim, kvHeads * headDim, kvHeads * headDim],
          1,
        ) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        cache.keys[layer] = written(cache.keys[layer]!, plan, key);
        cache.values[layer] = written(cache.values[layer]!, plan, value);
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

/** Slots that bring equally many rows attend together. */
interface AttentionGroup {
  /** Rising. */
  readonly slots: ReadonlyArray<number>;
  readonly rowsPerSlot: number;
  /** The longest context of any row. */
  readonly context: number;
  /** int32 `[slots · rowsPerSlot]`: which rows these are, slot after slot. */
  readonly rows: tf.Tensor1D;
  /** `[slots, 1, rowsPerSlot, context]`: 0 where a row sees a position, a huge negative number elsewhere. */
  readonly mask: tf.Tensor4D;
}

interface AttentionPlan {
  readonly cacheSlots: number;
  readonly groups: ReadonlyArray<AttentionGroup>;
  /** int32 `[n]`: where each row stands among the rows of all groups. */
  readonly places: tf.Tensor1D;
  /** int32 `[n, 1]`: the cache row that each row writes. */
  readonly writes: tf.Tensor2D;
  /** `[cache rows, 1]`: 0 for the cache rows that are written, 1 for those that stay. */
  readonly stays: tf.Tensor2D;
}

const planAttention = (options: {
  readonly cache: KvCache;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
}): AttentionPlan => {
  const { cache, slots, positions } = options;
  const rowsOfSlot = groupBy(slots.keys(), (row) => slots[row]!);
  const slotsByCount = groupBy(rowsOfSlot.keys(), (slot) => rowsOfSlot.get(slot)!.length);
  const writes = slots.map((slot, row) => slot * cache.length + positions[row]!);
  const stays = new Float32Array(cache.slots * cache.length).fill(1);
  for (const cacheRow of writes) stays[cacheRow] = 0;

  const places = new Int32Array(slots.length);
  let placed = 0;
  const groups = [...slotsByCount].map(([rowsPerSlot, unsorted]): AttentionGroup => {
    const groupSlots = unsorted.toSorted((a, b) => a - b);
    const rows = groupSlots.flatMap((slot) => rowsOfSlot.get(slot)!);
    const context = Math.max(...rows.map((row) => positions[row]!)) + 1;
    const mask = new Float32Array(rows.length * context);
    rows.forEach((row, index) => {
      places[row] = placed++;
      mask.fill(-1e30, index * context + positions[row]! + 1, (index + 1) * context);
    });
    return {
      slots: groupSlots,
      rowsPerSlot,
      context,
      rows: tf.tensor1d(rows, "int32"),
      mask: tf.tensor4d(mask, [groupSlots.length, 1, rowsPerSlot, context]),
    };
  });
  return {
    cacheSlots: cache.slots,
    groups,
    places: tf.tensor1d(places, "int32"),
    writes: tf.tensor2d(writes, [writes.length, 1], "int32"),
    stays: tf.tensor2d(stays, [stays.length, 1]),
  };
};

/** The items by key, in the order of their first appearance. */
const groupBy = (items: Iterable<number>, keyOf: (item: number) => number): Map<number, number[]> => {
  const groups = new Map<number, number[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
};

/** Rising numbers as runs of consecutive ones. */
const runs = (numbers: ReadonlyArray<number>): Array<{ readonly first: number; count: number }> => {
  const found: Array<{ readonly first: number; count: number }> = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last.first + last.count === number) last.count++;
    else found.push({ first: number, count: 1 });
  }
  return found;
};

/** The cache with some rows replaced, outside of every tidy; the old one is freed. */
const written = (cache: tf.Tensor, { writes, stays }: AttentionPlan, rows: tf.Tensor2D): tf.Tensor => {
  const next = tf.keep(tf.add(tf.mul(cache, stays), tf.scatterND(writes, rows, cache.shape)));
  cache.dispose();
  return next;
};

const attendToCache = (
  query: tf.Tensor2D,
  keys: tf.Tensor,
  values: tf.Tensor,
  plan: AttentionPlan,
  { heads, kvHeads, headDim }: DecoderSpec,
): tf.Tensor2D => {
  const attended = plan.groups.map(({ slots, rowsPerSlot, context, rows, mask }) => {
    const headMajor = (x: tf.Tensor, rowsOfSlot: number) => {
      const byHead = tf.transpose(tf.reshape(x, [slots.length, rowsOfSlot, -1, headDim]), [0, 2, 1, 3]);
      return tf.reshape(byHead, [slots.length * kvHeads, -1, headDim]);
    };
    /** The context of these slots, in few slices: on wasm `gather` is slow, and each slice reads the whole input. */
    const read = (cached: tf.Tensor) => {
      const bySlot = tf.reshape(cached, [plan.cacheSlots, -1, kvHeads * headDim]);
      const parts = runs(slots).map(({ first, count }) =>
        tf.slice(bySlot, [first, 0, 0], [count, context, -1]),
      );
      return headMajor(tf.concat(parts), context);
    };
    const q = headMajor(tf.gather(query, rows), rowsPerSlot);
    const scores = tf.mul(tf.matMul(q, read(keys), false, true), 1 / Math.sqrt(headDim));
    const masked = tf.add(tf.reshape(scores, [slots.length, heads, rowsPerSlot, context]), mask);
    const weights = tf.reshape(tf.softmax(masked), [slots.length * kvHeads, -1, context]);
    const mixed = tf.reshape(tf.matMul(weights, read(values)), [slots.length, heads, rowsPerSlot, headDim]);
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, heads * headDim]) as tf.Tensor2D;
  });
  return tf.gather(tf.concat(attended), plan.places) as tf.Tensor2D;
};
