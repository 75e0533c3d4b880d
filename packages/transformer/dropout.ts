import { type Key, uniforms } from "@rlhf/core/random";
import * as tf from "@tensorflow/tfjs-core";

/** Dropout is a property of one forward pass: the same key drops the same numbers. */
export interface Dropout {
  readonly rate: number;
  readonly key: Key;
}

/** Sets a share `rate` of the numbers to 0 and scales the others by 1/(1 − rate) (Srivastava et al. 2014). */
export function dropout<T extends tf.Tensor>(x: T, { rate, key }: Dropout): T {
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`Cannot apply dropout: rate must lie in [0, 1), got ${rate}`);
  }
  if (rate === 0) return x;
  const kept = uniforms(key, x.size).map((u) => (u < rate ? 0 : 1 / (1 - rate)));
  return tf.mul(x, tf.tensor(kept, x.shape, "float32"));
}
