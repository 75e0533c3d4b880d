import * as tf from "@tensorflow/tfjs-core";
import { ComposedKvCache, composedDecodeStep } from "./_composed_decode_step.ts";
import { assertRange } from "./_shapes.ts";
import type { DecoderSpec, DecoderWeights, KvCache } from "./decoder.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";

/**
 * An empty cache for `slots` sequences of up to `length` tokens. The caller disposes it. A slot is reused by
 * writing to it again from position 0. Specs that the fused kernel does not know (head norms, scaled rotation) take
 * the composed way on every backend.
 */
export const createKvCache = (
  spec: DecoderSpec,
  size: { readonly layers: number; readonly slots: number; readonly length: number },
): KvCache => {
  const composed = spec.headNorm === true || spec.ropeScaling !== undefined;
  if (composed || !hasFusedKernel("RlhfDecodeStep"))
    return new ComposedKvCache(spec.kvHeads * spec.headDim, size);
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
 * @throws RangeError when lengths differ, a slot, position or row does not exist, or two rows share a place
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
  const places = new Set(slots.map((slot, row) => slot * cache.length + positions[row]!));
  assertRange(task, places.size === rows, "no two rows may stand at one position of one slot");
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
