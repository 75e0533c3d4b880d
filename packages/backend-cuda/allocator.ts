/** GPU memory: blocks that are free for reuse, a limit, and errors that say who asked for what. */
import { CudaError, type Driver, outOfMemory, outputOf } from "./driver.ts";

/** A block of GPU memory. */
export interface Block {
  /** Its address on the GPU. */
  readonly pointer: number;
  readonly bytes: number;
}

/** There is not enough GPU memory, even after what was held for reuse went back. */
export class CudaOutOfMemory extends Error {
  constructor(op: string, bytes: number, what: string, state: string) {
    super(
      `Cannot run ${op}: out of GPU memory. It asked for ${inWords(bytes)} for ${what}; ${state}. ` +
        "Take a smaller batch or shorter sequences, or raise RLHF_CUDA_MEMORY if it is set.",
    );
  }
}

const inWords = (bytes: number): string => {
  const [unit, scale] =
    bytes >= 2 ** 30 ? ["GiB", 2 ** 30] : bytes >= 2 ** 20 ? ["MiB", 2 ** 20] : ["KiB", 1024];
  return `${(bytes / scale).toFixed(1)} ${unit}`;
};

/** Smaller blocks are all of this size. */
const smallest = 512;

/** The smallest class that holds `bytes`: a multiple of an eighth of the power of two below it. */
const classOf = (bytes: number): number => {
  if (bytes <= smallest) return smallest;
  const step = 2 ** Math.floor(Math.log2(bytes)) / 8;
  return Math.ceil(bytes / step) * step;
};

/** RLHF_CUDA_MEMORY in GiB; without it all that the GPU has. */
const wantedLimit = (): number => {
  const text = process.env.RLHF_CUDA_MEMORY;
  if (text === undefined || text === "") return Number.POSITIVE_INFINITY;
  const gibibytes = Number(text);
  if (!(gibibytes > 0)) {
    throw new RangeError(
      `Cannot start the cuda backend: RLHF_CUDA_MEMORY must be a number of GiB above 0, got ${text}`,
    );
  }
  return gibibytes * 2 ** 30;
};

/**
 * Blocks in size classes an eighth of a power of two apart, so that batches of varying shapes share them. A block that
 * comes back is given out again at once: all work is on one stream, so whoever gets it runs after whoever had it.
 */
export class Allocator {
  /** In use and held for reuse together never exceed this many bytes. */
  readonly limit: number;
  readonly #driver: Driver;
  // Insertion order is the order of last use.
  readonly #free = new Map<number, Block[]>();
  bytesInUse = 0;
  bytesAllocated = 0;

  constructor(driver: Driver, limit = wantedLimit()) {
    this.#driver = driver;
    this.limit = limit;
  }

  /**
   * A block of at least `bytes` and of arbitrary contents.
   *
   * @param op who asks, and `what` it is for, for the error
   * @throws CudaOutOfMemory when there is not so much memory, even after a trim
   */
  take(bytes: number, op: string, what: string): Block {
    const size = classOf(bytes);
    const block = this.#free.get(size)?.pop() ?? this.#allocate(size) ?? this.#allocateAfterTrim(size);
    if (!block) throw new CudaOutOfMemory(op, bytes, what, this.#state());
    this.bytesInUse += size;
    return block;
  }

  give(block: Block): void {
    this.bytesInUse -= block.bytes;
    const list = this.#free.get(block.bytes) ?? [];
    list.push(block);
    this.#free.delete(block.bytes);
    this.#free.set(block.bytes, list);
  }

  /** Gives what is held for reuse back to the GPU, the longest unused first, until at most `bytes` are held. */
  trim(bytes = 0): void {
    for (const [size, list] of this.#free) {
      while (list.length > 0 && this.bytesAllocated - this.bytesInUse > bytes) {
        this.#driver.cuMemFree(list.pop()!.pointer);
        this.bytesAllocated -= size;
      }
      if (list.length === 0) this.#free.delete(size);
    }
  }

  #allocate(size: number): Block | undefined {
    if (this.bytesAllocated + size > this.limit) return undefined;
    try {
      const pointer = outputOf((output) => this.#driver.cuMemAlloc(output, size));
      this.bytesAllocated += size;
      return { pointer, bytes: size };
    } catch (error) {
      if (error instanceof CudaError && error.code === outOfMemory) return undefined;
      throw error;
    }
  }

  #allocateAfterTrim(size: number): Block | undefined {
    this.trim();
    return this.#allocate(size);
  }

  #state(): string {
    const [free, total] = [[0], [0]];
    this.#driver.cuMemGetInfo(free, total);
    const limit = this.limit < Number.POSITIVE_INFINITY ? ` of a limit of ${inWords(this.limit)}` : "";
    return (
      `${inWords(this.bytesInUse)}${limit} are in use here, ` +
      `${inWords(Number(free[0]))} of ${inWords(Number(total[0]))} are free on the GPU`
    );
  }
}
