import * as tf from "@tensorflow/tfjs-core";

/**
 * Sequences as the model reads them; every tensor is int32 `[batch, time]`.
 *
 * `segments` is 0 on padding, and tokens see only tokens of their own segment, so a plain 0/1 mask is the usual case
 * and several numbers pack several texts into one row. `positions` count from 0 within each segment.
 */
export interface Sequences {
  readonly ids: tf.Tensor2D;
  readonly segments: tf.Tensor2D;
  readonly positions: tf.Tensor2D;
}

/** A batch of sequences in ordinary arrays, row-major `[batch, time]`. `TokenBatch` of `@rlhf/data` is one. */
export interface SequenceArrays {
  readonly ids: Int32Array;
  readonly segments: Int32Array;
  readonly positions: Int32Array;
  readonly batch: number;
  readonly time: number;
}

/** Puts a batch into tensors. Free them with `tf.dispose`. */
export function toSequences({ ids, segments, positions, batch, time }: SequenceArrays): Sequences {
  const tensor = (values: Int32Array) => tf.tensor2d(values, [batch, time], "int32");
  return { ids: tensor(ids), segments: tensor(segments), positions: tensor(positions) };
}

/** Throws a RangeError unless all three tensors are `[batch, time]` and fit into the model's context. */
export function assertSequences(doing: string, { ids, segments, positions }: Sequences, limit: number): void {
  for (const [name, tensor] of Object.entries({ ids, segments, positions })) {
    if (tensor.rank !== 2 || !tf.util.arraysEqual(tensor.shape, ids.shape)) {
      throw new RangeError(
        `Cannot ${doing}: ids, segments and positions must share one shape [batch, time], got ids [${ids.shape}] and ${name} [${tensor.shape}]`,
      );
    }
  }
  if (ids.shape[1] > limit) {
    throw new RangeError(
      `Cannot ${doing}: rows must have at most ${limit} tokens, the model's context, got ${ids.shape[1]}`,
    );
  }
}
