import { type FileHandle, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInput } from "@rlhf/core/errors";
import { fold, integers, type Key, permutation } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";

export interface ShuffleOptions {
  readonly key: Key;
  /** Where the records lie meanwhile, about as large as they are; removed at the end. Default: the system's. */
  readonly folder?: string;
  /** Piles of records; one of them has to fit into memory. Default 64: enough for some ten gigabytes. */
  readonly piles?: number;
}

/** Records whose places are drawn in one go. */
const block = 4096;
const writeBytes = 1 << 18;

/**
 * Records in a uniformly random order, however many: each is thrown onto a pile drawn at random, and the piles are
 * shuffled one after the other, so memory holds one pile. The order depends on the key and the order given alone.
 *
 * The records are read to their end before the first comes out: data that is refused at its end is refused before
 * anything starts. They go through JSON on their way. Fails with `InvalidInput` when the disk is full.
 */
export const shuffle = <A, E, R>(
  batches: Stream.Stream<ReadonlyArray<A>, E, R>,
  options: ShuffleOptions,
): Stream.Stream<ReadonlyArray<A>, E | InvalidInput, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { key, folder = tmpdir(), piles: count = 64 } = options;
      const onDisk = <T>(work: () => Promise<T>) =>
        Effect.tryPromise({ try: work, catch: (error) => diskProblem(folder, error) });
      const piles = yield* Effect.acquireRelease(
        onDisk(() => Piles.open(folder, count)),
        (opened) => Effect.promise(() => opened.remove()),
      );
      const draw = drawer(fold(key, "piles"), count);
      yield* Stream.runForEach(batches, (batch) =>
        onDisk(async () => {
          for (const record of batch) {
            const written = piles.add(draw(), JSON.stringify(record));
            if (written !== undefined) await written;
          }
        }),
      );
      yield* onDisk(() => piles.flush());
      return Stream.fromAsyncIterable(shuffledPiles<A>(piles, key, count), (error) =>
        diskProblem(folder, error),
      );
    }),
  );

function diskProblem(where: string, error: unknown): InvalidInput {
  const problem = `cannot shuffle there: ${(error as Error).message}`;
  return new InvalidInput({ problems: [{ where, problem, remedy: "free space, or name another folder" }] });
}

/** Batches of exactly `size` records, whatever the batches they come in; the last may be smaller. */
export const rebatch = <A, E, R>(
  batches: Stream.Stream<ReadonlyArray<A>, E, R>,
  size: number,
): Stream.Stream<ReadonlyArray<A>, E, R> =>
  Stream.mapAccum(
    batches,
    (): ReadonlyArray<A> => [],
    (rest, batch) => {
      const records = [...rest, ...batch];
      const whole = Math.floor(records.length / size);
      const full = Array.from({ length: whole }, (_, i) => records.slice(i * size, (i + 1) * size));
      return [records.slice(whole * size), full];
    },
    { onHalt: (rest) => (rest.length > 0 ? [rest] : []) },
  );

async function* shuffledPiles<A>(piles: Piles, key: Key, count: number): AsyncGenerator<ReadonlyArray<A>> {
  for (let pile = 0; pile < count; pile++) {
    const lines = await piles.read(pile);
    const order = permutation(fold(fold(key, "pile"), pile), lines.length);
    for (let start = 0; start < order.length; start += 1000) {
      yield Array.from(order.subarray(start, start + 1000), (i): A => JSON.parse(lines[i]!.toString("utf8")));
    }
  }
}

/** Draws the pile of one record after the other. */
function drawer(key: Key, count: number): () => number {
  let drawn = integers(fold(key, 0), block, count);
  let next = 0;
  return () => {
    if (next > 0 && next % block === 0) drawn = integers(fold(key, next / block), block, count);
    return drawn[next++ % block]!;
  };
}

/** Files with a record a line. */
class Piles {
  private readonly folder: string;
  private readonly handles: ReadonlyArray<FileHandle>;
  /** Lines as bytes: as strings they would live long enough to be copied about by the garbage collector. */
  private readonly pending: ReadonlyArray<{ readonly bytes: Buffer; size: number }>;

  private constructor(folder: string, handles: ReadonlyArray<FileHandle>) {
    this.folder = folder;
    this.handles = handles;
    this.pending = handles.map(() => ({ bytes: Buffer.allocUnsafe(writeBytes), size: 0 }));
  }

  static async open(parent: string, count: number): Promise<Piles> {
    const folder = await mkdtemp(join(parent, "rlhf-shuffle-"));
    const names = Array.from({ length: count }, (_, pile) => join(folder, String(pile)));
    return new Piles(folder, await Promise.all(names.map((name) => open(name, "w"))));
  }

  /** A promise only when something has to be written first. */
  add(pile: number, line: string): Promise<void> | undefined {
    const pending = this.pending[pile]!;
    const longest = 3 * line.length + 1; // a UTF-16 unit takes three bytes of UTF-8 at most
    if (pending.size + longest > writeBytes) return this.write(pile, `${line}\n`);
    pending.size += pending.bytes.write(`${line}\n`, pending.size);
    return undefined;
  }

  async flush(): Promise<void> {
    for (let pile = 0; pile < this.handles.length; pile++) await this.write(pile);
  }

  /** The lines of a pile as bytes; each is decoded when it is its turn. */
  async read(pile: number): Promise<ReadonlyArray<Buffer>> {
    const bytes = await readFile(join(this.folder, String(pile)));
    const lines: Array<Buffer> = [];
    for (let start = 0; start < bytes.length; ) {
      const end = bytes.indexOf(0x0a, start);
      lines.push(bytes.subarray(start, end));
      start = end + 1;
    }
    return lines;
  }

  async remove(): Promise<void> {
    await Promise.all(this.handles.map((handle) => handle.close()));
    await rm(this.folder, { recursive: true });
  }

  private async write(pile: number, more = ""): Promise<void> {
    const pending = this.pending[pile]!;
    await this.handles[pile]!.appendFile(pending.bytes.subarray(0, pending.size));
    if (more !== "") await this.handles[pile]!.appendFile(more);
    pending.size = 0;
  }
}
