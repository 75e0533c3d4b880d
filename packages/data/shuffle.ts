import { tmpdir } from "node:os";
import { InvalidInput } from "@rlhf/core/errors";
import type { Key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { type Item, Piles } from "./_piles.ts";
import { streamDecoded } from "./_stream_decoded.ts";
import type { Kind, Records } from "./format.ts";
import type { FileReport, ReadOptions } from "./read.ts";

export interface ShuffleOptions {
  readonly key: Key;
  /** Where the records lie meanwhile, about as large as they are; removed at the end. Default: the system's. */
  readonly folder?: string;
  /** Piles of records; one of them has to fit into memory. Default 64: enough for some ten gigabytes. */
  readonly piles?: number;
}

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
  throughPiles(
    batches,
    options,
    (batch) => batch.map((record) => itemOf(record)),
    ({ bytes }): A => JSON.parse(bytes.toString("utf8")),
  );

/**
 * What `shuffle(streamData(path, kind, options, files), options)` gives, in less time: rows of JSON lie on their piles
 * as the file has them.
 */
export function shuffleData<K extends Kind>(
  path: string,
  kind: K,
  options: ReadOptions & ShuffleOptions,
  files: Array<FileReport> = [],
): Stream.Stream<ReadonlyArray<Records[K]>, InvalidInput> {
  /** How the rows of each file become records; an item's kind is a place here, 0 for a record written as JSON. */
  const readers: Array<(json: Buffer) => Records[K]> = [(json) => JSON.parse(json.toString("utf8"))];
  return throughPiles(
    streamDecoded(path, kind, options, files),
    options,
    ({ records, rows, again }) => {
      if (readers.at(-1) !== again) readers.push(again);
      return records.map((record, i) => {
        const row = rows[i];
        return row === undefined ? itemOf(record) : { bytes: row, kind: readers.length - 1 };
      });
    },
    ({ bytes, kind: reader }) => readers[reader]!(bytes),
  );
}

function itemOf(record: unknown): Item {
  return { bytes: Buffer.from(JSON.stringify(record)), kind: 0 };
}

const throughPiles = <Batch, A, E, R>(
  batches: Stream.Stream<Batch, E, R>,
  { key, folder = tmpdir(), piles: count = 64 }: ShuffleOptions,
  pack: (batch: Batch) => ReadonlyArray<Item>,
  unpack: (item: Item) => A,
): Stream.Stream<ReadonlyArray<A>, E | InvalidInput, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const onDisk = <T>(work: () => Promise<T>) =>
        Effect.tryPromise({ try: work, catch: (error) => diskProblem(folder, error) });
      const piles = yield* Effect.acquireRelease(
        onDisk(() => Piles.open(folder, key, count)),
        (opened) => Effect.promise(() => opened.remove()),
      );
      yield* Stream.runForEach(batches, (batch) =>
        onDisk(async () => {
          for (const item of pack(batch)) {
            const written = piles.add(item);
            if (written !== undefined) await written;
          }
        }),
      );
      yield* onDisk(() => piles.flush());
      const items = Stream.fromAsyncIterable(piles.shuffled(), (error) => diskProblem(folder, error));
      return Stream.map(items, (some) => some.map(unpack));
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
