import * as tf from "@tensorflow/tfjs-core";

/** A record of tensors whose first axis is the batch. */
export type Rows<T> = { readonly [K in keyof T]: tf.Tensor };

/** The same rows of every tensor of a record; other fields of the record are left out. Free them with `tf.dispose`. */
export function selectRows<T extends Rows<T>>(tensors: T, rows: ArrayLike<number>): T {
  return tf.tidy(() => {
    const ids = tf.tensor1d(Int32Array.from(rows), "int32");
    return mapValues(tensors, (tensor) => tf.gather(tensor, ids));
  });
}

/**
 * A function of rows, applied to `size` rows at a time, with the results put together: what it needs on the way is
 * in memory for one part only. For forward passes; it is not differentiable.
 */
export function inParts<T extends Rows<T>, U extends Rows<U>>(
  tensors: T,
  size: number,
  f: (part: T) => U,
): U {
  return tf.tidy(() => {
    const count = Object.values<tf.Tensor>(tensors)[0]!.shape[0]!;
    const parts: Array<U> = [];
    for (let start = 0; start < count; start += size) {
      const length = Math.min(size, count - start);
      parts.push(tf.tidy(() => f(mapValues(tensors, (tensor) => tf.slice(tensor, start, length)))));
    }
    return mapValues(parts[0]!, (_, name) => tf.concat(parts.map((part) => part[name])));
  });
}

function mapValues<T extends Rows<T>>(record: T, f: (tensor: tf.Tensor, name: keyof T) => tf.Tensor): T {
  const entries = Object.entries<tf.Tensor>(record).map(([name, tensor]) => [
    name,
    f(tensor, name as keyof T),
  ]);
  return Object.fromEntries(entries) as T;
}
