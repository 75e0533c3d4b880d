/** Smaller buffers are all of this size. */
const smallest = 256;
/** What a pool keeps for reuse, in bytes: 1 GiB. */
const defaultLimit = 2 ** 30;

/**
 * GPU buffers that are free for reuse, by usage, in size classes an eighth of a power of two apart, so that batches of
 * varying shapes share them. At most `limit` bytes are held for reuse; beyond that the classes that went unused the
 * longest are destroyed. It has the shape of tfjs's own manager, which it replaces: that one keeps one list per exact
 * size, for ever.
 */
export class BufferPool {
  readonly limit: number;
  readonly #device: Pick<GPUDevice, "createBuffer">;
  // Insertion order is the order of last use.
  readonly #free = new Map<string, GPUBuffer[]>();
  readonly #used = new Set<GPUBuffer>();
  numBytesUsed = 0;
  /** In use or held for reuse. */
  numBytesAllocated = 0;

  constructor(device: Pick<GPUDevice, "createBuffer">, limit = defaultLimit) {
    this.#device = device;
    this.limit = limit;
  }

  /**
   * A buffer of at least `size` bytes and arbitrary contents.
   *
   * @param mappedAtCreation a fresh buffer is mapped for writing; a reused one is not, as its `mapState` tells
   */
  acquireBuffer(size: number, usage: GPUBufferUsageFlags, mappedAtCreation = false, reuse = true): GPUBuffer {
    const capacity = classOf(size);
    let buffer = reuse ? this.#free.get(keyOf(capacity, usage))?.pop() : undefined;
    if (!buffer) {
      buffer = this.#device.createBuffer({ size: capacity, usage, mappedAtCreation });
      this.numBytesAllocated += capacity;
    }
    this.#used.add(buffer);
    this.numBytesUsed += capacity;
    return buffer;
  }

  /** Takes back a buffer that no unsubmitted command uses. */
  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (!this.#used.delete(buffer)) throw new Error("Cannot release a buffer that this pool did not give");
    this.numBytesUsed -= buffer.size;
    if (!reuse || buffer.size > this.limit) {
      this.#destroy(buffer);
      return;
    }
    const key = keyOf(buffer.size, buffer.usage);
    const list = this.#free.get(key) ?? [];
    list.push(buffer);
    this.#free.delete(key);
    this.#free.set(key, list);
    if (this.numBytesAllocated - this.numBytesUsed > this.limit) this.trim(this.limit / 2);
  }

  /** Destroys buffers, the longest unused first, until at most `bytes` are held for reuse. */
  trim(bytes = 0): void {
    for (const [key, list] of this.#free) {
      while (this.numBytesAllocated - this.numBytesUsed > bytes && list.length > 0)
        this.#destroy(list.pop()!);
      if (list.length === 0) this.#free.delete(key);
      if (this.numBytesAllocated - this.numBytesUsed <= bytes) return;
    }
  }

  dispose(): void {
    this.trim();
    for (const buffer of this.#used) this.#destroy(buffer);
    this.#used.clear();
    this.numBytesUsed = 0;
  }

  #destroy(buffer: GPUBuffer): void {
    this.numBytesAllocated -= buffer.size;
    buffer.destroy();
  }
}

const keyOf = (size: number, usage: number) => `${size} ${usage}`;

/** The smallest capacity that holds `size` bytes: a multiple of an eighth of the power of two below it. */
const classOf = (size: number): number => {
  if (size <= smallest) return smallest;
  const step = 2 ** Math.floor(Math.log2(size)) / 8;
  return Math.ceil(size / step) * step;
};
