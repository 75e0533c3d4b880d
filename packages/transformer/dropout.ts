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
  return tf.mul(x, tf.tensor(keepMask(x.size, rate, key), x.shape, "float32"));
}

/** 0 or 1/(1 − rate). A uniform number has 24 random bits: it decides over two entries, the rate being rounded to 12. */
function keepMask(size: number, rate: number, key: Key): Float32Array {
  const draws = uniforms(key, Math.ceil(size / 2));
  const dropped = Math.round(rate * 4096);
  const scale = 4096 / (4096 - dropped);
  const mask = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const bits = draws[i >>> 1]! * 2 ** 24;
    mask[i] = ((i & 1) === 0 ? bits >>> 12 : bits & 4095) < dropped ? 0 : scale;
  }
  return mask;
}
