/**
 * Counter-based random numbers: a {@link Key} is a value, the same key always gives the same numbers, and nothing
 * holds hidden state. Resuming a run therefore needs no generator to be saved: the step number is the position.
 *
 * The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 */
export type Key = readonly [number, number];

/** The root key of a run, from its seed (an integer from 0 to 2^53 − 1). */
export function key(seed: number): Key {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot make a key: seed must be an integer from 0 to 2^53 − 1, got ${seed}`);
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/**
 * A child key: `fold(fold(key(seed), "ppo"), step)`. Different data give independent streams.
 *
 * @example
 * ```ts
 * import { fold, key, uniforms } from "@rlhf/core/random";
 *
 * const run = key(1);
 * for (let step = 0; step < 3; step++) console.log(uniforms(fold(run, step), 2)); // the same in every run
 * ```
 */
export function fold(parent: Key, data: number | string): Key {
  const [low, high, tag] =
    typeof data === "number" ? [data >>> 0, Math.floor(data / 2 ** 32) >>> 0, 1] : hash(data);
  const block = new Uint32Array(4);
  philox(low, high, tag, 0x666f6c64, parent, block);
  return [block[0]!, block[1]!];
}

/** `count` numbers uniform in [0, 1), with 24 random bits each. */
export function uniforms(from: Key, count: number): Float32Array {
  const words = bits(from, count);
  const result = new Float32Array(count);
  for (let i = 0; i < count; i++) result[i] = (words[i]! >>> 8) * 2 ** -24;
  return result;
}

/** `count` draws from the standard normal distribution (Box–Muller). */
export function normals(from: Key, count: number): Float32Array {
  const pairs = Math.ceil(count / 2);
  const words = bits(from, 2 * pairs);
  const result = new Float32Array(2 * pairs);
  for (let i = 0; i < pairs; i++) {
    // The half keeps the logarithm's argument above zero.
    const radius = Math.sqrt(-2 * Math.log((words[2 * i]! + 0.5) * 2 ** -32));
    const angle = 2 * Math.PI * words[2 * i + 1]! * 2 ** -32;
    result[2 * i] = radius * Math.cos(angle);
    result[2 * i + 1] = radius * Math.sin(angle);
  }
  return result.subarray(0, count);
}

/** `count` integers uniform in [0, `below`). */
export function integers(from: Key, count: number, below: number): Int32Array {
  if (!Number.isInteger(below) || below < 1 || below > 2 ** 31) {
    throw new RangeError(`Cannot draw integers: below must be an integer from 1 to 2^31, got ${below}`);
  }
  const words = bits(from, 2 * count);
  const result = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    // 53 random bits scaled down: the bias is below 2^-22 for every bound.
    const fraction = (words[2 * i]! * 2 ** 21 + (words[2 * i + 1]! >>> 11)) * 2 ** -53;
    result[i] = Math.floor(fraction * below);
  }
  return result;
}

/** A uniformly random order of 0 … `count` − 1 (Fisher–Yates). */
export function permutation(from: Key, count: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const words = bits(from, count);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(words[i]! * 2 ** -32 * (i + 1));
    const swapped = order[i]!;
    order[i] = order[j]!;
    order[j] = swapped;
  }
  return order;
}

/** The items in a random order; the input is left as it is. */
export function shuffled<T>(from: Key, items: ReadonlyArray<T>): Array<T> {
  return Array.from(permutation(from, items.length), (i) => items[i]!);
}

function bits(from: Key, count: number): Uint32Array {
  const words = new Uint32Array(Math.ceil(count / 4) * 4);
  for (let i = 0; i < words.length; i += 4) philox(i >>> 2, 0, 0, 0, from, words, i);
  return words;
}

/** FNV-1a over UTF-16 units in two lanes; the third word keeps strings apart from numbers. */
function hash(text: string): [number, number, number] {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b) ^ (b >>> 13);
  }
  return [a >>> 0, b >>> 0, 2];
}

function philox(c0: number, c1: number, c2: number, c3: number, from: Key, out: Uint32Array, at = 0): void {
  let [k0, k1] = from;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** Upper 32 bits of the 64-bit product, by 16-bit halves: JavaScript numbers hold only 53 bits. */
function multiplyHigh(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const carry = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}
