import type { InvalidInput } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { FileReport } from "./_file_report.ts";
import { streamDecoded } from "./_stream_decoded.ts";
import type { FormatOptions, Kind, Records } from "./format.ts";

export type { FileReport } from "./_file_report.ts";

export interface ReadOptions extends Partial<FormatOptions> {
  /** The name of the format, where the one that shows in the content is not meant. */
  readonly format?: string;
  /** Where a format's fields are: `{ prompt: "question", response: "answers.best" }`. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Bad rows are left out while they are at most this share of all; above it reading fails. Default 0. */
  readonly badShare?: number;
  /** Rankings with an empty response: labellers do rank such. Default "keep". */
  readonly emptyResponses?: "keep" | "drop";
  /** HH-RLHF pairs that part before the last turn. Default "keep". */
  readonly diverging?: "keep" | "drop";
}

/** Records with what was found in each file. */
export interface DataSet<A> {
  readonly records: ReadonlyArray<A>;
  readonly files: ReadonlyArray<FileReport>;
}

/**
 * Reads the records of one kind from a file, or from all files of a folder; what holds the rows (JSON lines, a JSON
 * list, CSV, TSV, Parquet, plain text; gzipped or not) and their format show in the content of each file.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line and field, when more
 * than `badShare` of the rows are bad, or a file cannot be read to its end.
 */
export const readData = Effect.fn("data.read")(function* <K extends Kind>(
  path: string,
  kind: K,
  options: ReadOptions = {},
) {
  const files: Array<FileReport> = [];
  const records: Array<Records[K]> = [];
  yield* Stream.runForEach(streamData(path, kind, options, files), (batch) =>
    Effect.sync(() => {
      for (const record of batch) records.push(record);
    }),
  );
  const data: DataSet<Records[K]> = { records, files };
  return data;
});

/**
 * {@link readData} in batches, for files that do not fit into memory. It fails at its end when too many rows were bad:
 * a run that must not start on such reads through it once, as `shuffleData` does.
 *
 * @param files is given the report of each file
 */
export function streamData<K extends Kind>(
  path: string,
  kind: K,
  options: ReadOptions = {},
  files: Array<FileReport> = [],
): Stream.Stream<ReadonlyArray<Records[K]>, InvalidInput> {
  return Stream.map(streamDecoded(path, kind, options, files), ({ records }) => records);
}
