import { type Key, permutation } from "@rlhf/core/random";

/**
 * The indices 0 … `count` − 1 in a random order, cut into minibatches of `size`; the last may be smaller. One epoch:
 * fold the epoch's number into the key to get a fresh order each time.
 *
 * @throws RangeError when `size` is not a positive integer.
 */
export function minibatches(from: Key, count: number, size: number): Array<Int32Array> {
  if (!Number.isInteger(size) || size < 1)
    throw new RangeError(`Cannot make minibatches: size must be an integer of at least 1, got ${size}`);
  const order = permutation(from, count);
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => order.subarray(i * size, (i + 1) * size));
}
