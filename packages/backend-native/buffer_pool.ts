import { totalmem } from "node:os";

/** Shorter arrays are cheaper to make than to look for. */
const smallest = 1024;
/** Elements of a cache line: loads and stores that straddle two lines cost 5 % of a matrix product. */
const line = 16;
/** Elements of a slab, 256 MiB: the system hands out its pages as they are touched. */
const slabSize = 2 ** 26;

/** A free stretch of a slab, in elements. */
interface Gap {
  readonly slab: Float32Array;
  start: number;
  length: number;
  /** How many of them hold no memory of the system: never touched, or given back. */
  clean: number;
}

/** What the pool needs of the addon. */
export interface Pages {
  /** How many bytes an array lies behind a multiple of a cache line. */
  readonly misalignment: (array: Float32Array) => number;
  /** Gives the whole pages of an array back to the system; its contents are lost. */
  readonly discard: (array: Float32Array) => void;
}

/**
 * Memory for the elements of tensors: first fit by address, and neighbouring gaps join (Knuth 1997, TAOCP 1, 2.5).
 * So activations, gradients and whatever comes next lie in the same memory one after the other, whatever their sizes;
 * a fresh array for each would cost a page fault per 4 kB, about as much as the kernel that fills it. Beyond `limit`
 * bytes of gaps their pages go back to the system.
 */
export class BufferPool {
  readonly limit: number;
  readonly #pages: Pages;
  /** By slab in the order of their making, then by address. */
  #gaps: Gap[] = [];
  readonly #slabs = new Map<ArrayBufferLike, { readonly slab: Float32Array; readonly order: number }>();
  #made = 0;
  #bytes = 0;

  constructor(pages: Pages, limit = totalmem() / 4) {
    this.#pages = pages;
    this.limit = limit;
  }

  /** Bytes that are held for reuse. */
  get bytes(): number {
    return this.#bytes;
  }

  /** An array of this length whose contents are arbitrary. It starts on a cache line. */
  take(length: number): Float32Array {
    if (length < smallest) return new Float32Array(length);
    const needed = wholeLines(length);
    let index = this.#gaps.findIndex((gap) => gap.length >= needed);
    if (index < 0) index = this.#addSlab(needed);
    const gap = this.#gaps[index]!;
    const array = gap.slab.subarray(gap.start, gap.start + length);
    const dirty = Math.min(needed, gap.length - gap.clean);
    gap.start += needed;
    gap.length -= needed;
    gap.clean -= needed - dirty;
    this.#bytes -= 4 * dirty;
    if (gap.length === 0) this.#gaps.splice(index, 1);
    return array;
  }

  /** Takes back an array that nobody else holds. One that did not come from `take` is left to the garbage collector. */
  give(array: Float32Array): void {
    const slab = this.#slabs.get(array.buffer)?.slab;
    if (!slab) return;
    const start = (array.byteOffset - slab.byteOffset) / 4;
    const length = wholeLines(array.length);
    const index = this.#indexAfter(array);
    this.#gaps.splice(index, 0, { slab, start, length, clean: 0 });
    this.#bytes += 4 * length;
    this.#join(index);
    this.#join(index - 1);
    if (this.#bytes > this.limit) this.trim();
  }

  /** Gives the memory of all gaps back to the system. */
  trim(): void {
    for (const gap of this.#gaps) {
      if (gap.clean < gap.length) this.#pages.discard(gap.slab.subarray(gap.start, gap.start + gap.length));
      gap.clean = gap.length;
      if (gap.length === gap.slab.length) this.#slabs.delete(gap.slab.buffer);
    }
    this.#gaps = this.#gaps.filter(({ slab }) => this.#slabs.has(slab.buffer));
    this.#bytes = 0;
  }

  /** Index of the gap that a new slab is. */
  #addSlab(needed: number): number {
    const wide = new Float32Array(Math.max(slabSize, needed + line));
    const offset = (line - this.#pages.misalignment(wide) / 4) % line;
    const length = Math.floor((wide.length - offset) / line) * line;
    const slab = wide.subarray(offset, offset + length);
    this.#slabs.set(slab.buffer, { slab, order: this.#made++ });
    return this.#gaps.push({ slab, start: 0, length, clean: length }) - 1;
  }

  /** Index of the first gap behind an array. */
  #indexAfter(array: Float32Array): number {
    const order = this.#slabs.get(array.buffer)!.order;
    let [low, high] = [0, this.#gaps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { slab, start } = this.#gaps[middle]!;
      const place = this.#slabs.get(slab.buffer)!.order;
      const before = place === order ? slab.byteOffset + 4 * start < array.byteOffset : place < order;
      if (before) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Makes one gap of that at `index` and the next where nothing lies between them. */
  #join(index: number): void {
    const [gap, next] = [this.#gaps[index], this.#gaps[index + 1]];
    if (!gap || !next || gap.slab !== next.slab || gap.start + gap.length !== next.start) return;
    gap.length += next.length;
    gap.clean += next.clean;
    this.#gaps.splice(index + 1, 1);
  }
}

const wholeLines = (length: number): number => Math.ceil(length / line) * line;
