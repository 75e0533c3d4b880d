import * as tf from "@tensorflow/tfjs-core";
import type { Episode } from "./episode.ts";

/** Episodes with the mask that every tensor about their responses shares, one row an episode, one column a token. */
export interface Responses {
  readonly episodes: ReadonlyArray<Episode>;
  /** 1 for a token of the response, end of sequence included, float32 `[batch, response]`. */
  readonly mask: tf.Tensor2D;
}

/** The mask of these episodes' responses. Its width is a multiple of 8, so that few shapes occur in a run. */
export function responseMask(episodes: ReadonlyArray<Episode>): tf.Tensor2D {
  const lengths = episodes.map(({ response }) => response.tokens.length);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 1); // of more than a call has arguments
  const width = Math.ceil(longest / 8) * 8;
  const mask = new Float32Array(episodes.length * width);
  lengths.forEach((length, row) => {
    mask.fill(1, row * width, row * width + length);
  });
  return tf.tensor2d(mask, [episodes.length, width]);
}

/** A record of tensors whose first axis is the batch. */
export type Rows<T> = { readonly [K in keyof T]: tf.Tensor };

/** The same rows of every tensor of a record. Free them with `tf.dispose`. */
export function selectRows<T extends Rows<T>>(tensors: T, rows: Int32Array): T {
  return tf.tidy(() => {
    const ids = tf.tensor1d(rows, "int32");
    return mapTensors(tensors, (tensor) => tf.gather(tensor, ids));
  });
}

/**
 * A function of responses, applied to `size` episodes at a time, with the results put together: what it needs on the
 * way is in memory for one part only. For forward passes; it is not differentiable.
 */
export function inParts<T extends Rows<T>>(
  { episodes, mask }: Responses,
  size: number,
  f: (part: Responses) => T,
): T {
  return tf.tidy(() => {
    const parts: Array<T> = [];
    for (let start = 0; start < episodes.length; start += size) {
      const members = episodes.slice(start, start + size);
      parts.push(tf.tidy(() => f({ episodes: members, mask: tf.slice(mask, start, members.length) })));
    }
    return mapTensors(parts[0]!, (_, name) => tf.concat(parts.map((part) => part[name])));
  });
}

function mapTensors<T extends Rows<T>>(record: T, f: (tensor: tf.Tensor, name: keyof T) => tf.Tensor): T {
  const entries = Object.entries<tf.Tensor>(record).map(([name, tensor]) => [
    name,
    f(tensor, name as keyof T),
  ]);
  return Object.fromEntries(entries) as T;
}
