import { type FileHandle, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fold, integers, type Key, permutation } from "@rlhf/core/random";

/** Items whose piles are drawn in one go. */
const block = 4096;
const writeBytes = 1 << 18;
/** Before each item: its length and its kind, four bytes each. */
const headerBytes = 8;
/** Few enough to die young: the garbage collector copies what lives for long. */
const itemsAtATime = 256;

/** Something to be shuffled, as bytes. What its kind means is the caller's. */
export interface Item {
  readonly bytes: Buffer;
  readonly kind: number;
}

/** Items thrown onto piles on disk at random, to be read pile by pile, each in a random order. */
export class Piles {
  private readonly folder: string;
  private readonly key: Key;
  private readonly handles: ReadonlyArray<FileHandle>;
  private readonly pending: ReadonlyArray<{ readonly bytes: Buffer; size: number }>;
  private readonly draw: () => number;

  private constructor(folder: string, key: Key, handles: ReadonlyArray<FileHandle>) {
    this.folder = folder;
    this.key = key;
    this.handles = handles;
    this.pending = handles.map(() => ({ bytes: Buffer.allocUnsafe(writeBytes), size: 0 }));
    this.draw = drawer(fold(key, "piles"), handles.length);
  }

  static async open(parent: string, key: Key, count: number): Promise<Piles> {
    const folder = await mkdtemp(join(parent, "rlhf-shuffle-"));
    const names = Array.from({ length: count }, (_, pile) => join(folder, String(pile)));
    return new Piles(folder, key, await Promise.all(names.map((name) => open(name, "w"))));
  }

  /** A promise only when something has to be written first. */
  add({ bytes, kind }: Item): Promise<void> | undefined {
    const pile = this.draw();
    const pending = this.pending[pile]!;
    if (pending.size + headerBytes + bytes.length > writeBytes) return this.addLater(pile, { bytes, kind });
    pending.bytes.writeUInt32LE(bytes.length, pending.size);
    pending.bytes.writeUInt32LE(kind, pending.size + 4);
    bytes.copy(pending.bytes, pending.size + headerBytes);
    pending.size += headerBytes + bytes.length;
    return undefined;
  }

  async flush(): Promise<void> {
    for (let pile = 0; pile < this.handles.length; pile++) await this.write(pile);
  }

  /** All items in random order, once they are flushed. */
  async *shuffled(): AsyncGenerator<ReadonlyArray<Item>> {
    for (let pile = 0; pile < this.handles.length; pile++) {
      const bytes = await readFile(join(this.folder, String(pile)));
      const starts: Array<number> = [];
      for (let at = 0; at < bytes.length; at += headerBytes + bytes.readUInt32LE(at)) starts.push(at);
      const order = permutation(fold(fold(this.key, "pile"), pile), starts.length);
      for (let first = 0; first < order.length; first += itemsAtATime) {
        yield Array.from(order.subarray(first, first + itemsAtATime), (i): Item => {
          const start = starts[i]! + headerBytes;
          const end = start + bytes.readUInt32LE(start - headerBytes);
          return { bytes: bytes.subarray(start, end), kind: bytes.readUInt32LE(start - 4) };
        });
      }
    }
  }

  async remove(): Promise<void> {
    await Promise.all(this.handles.map((handle) => handle.close()));
    await rm(this.folder, { recursive: true });
  }

  /** Writes what is pending, and then the item, which may be larger than what is ever pending. */
  private async addLater(pile: number, { bytes, kind }: Item): Promise<void> {
    await this.write(pile);
    const header = Buffer.alloc(headerBytes);
    header.writeUInt32LE(bytes.length, 0);
    header.writeUInt32LE(kind, 4);
    await this.handles[pile]!.appendFile(Buffer.concat([header, bytes]));
  }

  private async write(pile: number): Promise<void> {
    const pending = this.pending[pile]!;
    await this.handles[pile]!.appendFile(pending.bytes.subarray(0, pending.size));
    pending.size = 0;
  }
}

/** Draws the pile of one item after the other. */
function drawer(key: Key, count: number): () => number {
  let drawn = integers(fold(key, 0), block, count);
  let next = 0;
  return () => {
    if (next > 0 && next % block === 0) drawn = integers(fold(key, next / block), block, count);
    return drawn[next++ % block]!;
  };
}
