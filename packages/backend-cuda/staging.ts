/** Memory of the host's that the GPU can write to while the program runs; asking the driver for it is slow. */
import { type Driver, outputOf } from "./driver.ts";

/** What is kept for reuse, in bytes: 64 MiB. */
const limit = 64 * 2 ** 20;

export interface StagingBuffer {
  readonly address: number;
  readonly bytes: number;
}

export class Staging {
  readonly #driver: Driver;
  readonly #free: StagingBuffer[] = [];
  #held = 0;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** At least so many bytes. */
  take(bytes: number): StagingBuffer {
    const at = this.#free.findIndex((buffer) => buffer.bytes >= bytes);
    if (at < 0) {
      const size = 2 ** Math.ceil(Math.log2(Math.max(bytes, 4096)));
      return { address: outputOf((output) => this.#driver.cuMemHostAlloc(output, size, 0)), bytes: size };
    }
    const [buffer] = this.#free.splice(at, 1);
    this.#held -= buffer!.bytes;
    return buffer!;
  }

  /** Takes back a buffer that the GPU has finished with. */
  give(buffer: StagingBuffer): void {
    if (this.#held + buffer.bytes > limit) {
      this.#driver.cuMemFreeHost(buffer.address);
      return;
    }
    this.#held += buffer.bytes;
    this.#free.push(buffer);
    this.#free.sort((a, b) => a.bytes - b.bytes);
  }
}
