import { totalmem } from "node:os";

/** Shorter arrays are cheaper to make than to look up. */
const smallest = 1024;
/** Bytes of a cache line. */
const line = 64;

/**
 * Arrays that are free for reuse, by length. A fresh array costs a page fault per 4 kB, about as much as the kernel
 * that fills it. The pool holds at most `limit` bytes; beyond that it drops the lengths that went unused the longest.
 */
export class BufferPool {
  readonly limit: number;
  readonly #misalignment: (array: Float32Array) => number;
  // Insertion order is the order of last use.
  readonly #free = new Map<number, Float32Array[]>();
  #bytes = 0;

  /** @param misalignment how many bytes an array lies behind a multiple of 64 */
  constructor(misalignment: (array: Float32Array) => number, limit = Math.min(4 * 2 ** 30, totalmem() / 4)) {
    this.#misalignment = misalignment;
    this.limit = limit;
  }

  /** Bytes held for reuse. */
  get bytes(): number {
    return this.#bytes;
  }

  /** An array of this length whose contents are arbitrary. */
  take(length: number): Float32Array {
    const list = length >= smallest ? this.#free.get(length) : undefined;
    const array = list?.pop();
    if (!array) return length < smallest ? new Float32Array(length) : this.#aligned(length);
    this.#bytes -= array.byteLength;
    return array;
  }

  /** A view that starts on a cache line: loads and stores that straddle two lines cost 5 % of a matrix product. */
  #aligned(length: number): Float32Array {
    const wide = new Float32Array(length + line / 4);
    const offset = (line - this.#misalignment(wide)) % line;
    return new Float32Array(wide.buffer, offset, length);
  }

  /** Takes an array back; nobody else may hold it. */
  give(array: Float32Array): void {
    if (array.length < smallest || array.byteLength > this.limit) return;
    const list = this.#free.get(array.length) ?? [];
    list.push(array);
    this.#bytes += array.byteLength;
    this.#free.delete(array.length);
    this.#free.set(array.length, list);
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
