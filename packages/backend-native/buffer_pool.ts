import { totalmem } from "node:os";

/** Shorter arrays are cheaper to make than to look up. */
const smallest = 1024;
/** Bytes of a cache line. */
const line = 64;

/**
 * Memory that is free for reuse, in size classes an eighth of a power of two apart, so that batches of varying shapes
 * share it. A fresh array costs a page fault per 4 kB, about as much as the kernel that fills it. The pool holds at
 * most `limit` bytes; beyond that it drops the classes that went unused the longest.
 */
export class BufferPool {
  readonly limit: number;
  readonly #misalignment: (array: Float32Array) => number;
  // Insertion order is the order of last use.
  readonly #free = new Map<number, Float32Array[]>();
  /** Every buffer that the pool made, with the whole of its usable part. */
  readonly #made = new WeakMap<ArrayBufferLike, Float32Array>();
  #bytes = 0;

  /** @param misalignment how many bytes an array lies behind a multiple of 64 */
  constructor(misalignment: (array: Float32Array) => number, limit = Math.min(3 * 2 ** 29, totalmem() / 4)) {
    this.#misalignment = misalignment;
    this.limit = limit;
  }

  /** Bytes held for reuse. */
  get bytes(): number {
    return this.#bytes;
  }

  /** An array of this length whose contents are arbitrary. */
  take(length: number): Float32Array {
    if (length < smallest) return new Float32Array(length);
    const capacity = classOf(length);
    const free = this.#free.get(capacity)?.pop();
    if (free) this.#bytes -= free.byteLength;
    const whole = free ?? this.#aligned(capacity);
    return length === capacity ? whole : new Float32Array(whole.buffer, whole.byteOffset, length);
  }

  /** A view that starts on a cache line: loads and stores that straddle two lines cost 5 % of a matrix product. */
  #aligned(length: number): Float32Array {
    const wide = new Float32Array(length + line / 4);
    const offset = (line - this.#misalignment(wide)) % line;
    const whole = new Float32Array(wide.buffer, offset, length);
    this.#made.set(wide.buffer, whole);
    return whole;
  }

  /** Takes back an array that nobody else holds. One that did not come from `take` is left to the garbage collector. */
  give(array: Float32Array): void {
    const whole = this.#made.get(array.buffer);
    if (!whole || whole.byteLength > this.limit) return;
    const list = this.#free.get(whole.length) ?? [];
    list.push(whole);
    this.#bytes += whole.byteLength;
    this.#free.delete(whole.length);
    this.#free.set(whole.length, list);
    if (this.#bytes > this.limit) this.trim(this.limit / 2);
  }

  /** Drops arrays, the longest unused first, until at most `bytes` are held. */
  trim(bytes = 0): void {
    for (const [length, list] of this.#free) {
      while (this.#bytes > bytes && list.length > 0) this.#bytes -= list.pop()!.byteLength;
      if (list.length === 0) this.#free.delete(length);
      if (this.#bytes <= bytes) return;
    }
  }
}

/** The smallest capacity that holds `length`: a multiple of an eighth of the power of two below it. */
function classOf(length: number): number {
  const step = 2 ** Math.floor(Math.log2(length)) / 8;
  return Math.ceil(length / step) * step;
}
