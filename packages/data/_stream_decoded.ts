import { InvalidInput, type Problem } from "@rlhf/core/errors";
import * as Stream from "effect/Stream";
import { unreadable } from "./_bytes.ts";
import { type Decoded, decodeFile } from "./_decode.ts";
import { emptyReport, type FileReport } from "./_file_report.ts";
import { listFiles } from "./_files.ts";
import type { Kind, Records } from "./format.ts";
import type { ReadOptions } from "./read.ts";

/** The records of all files in batches, with the rows they were read from; fails at its end when too many were bad. */
export function streamDecoded<K extends Kind>(
  path: string,
  kind: K,
  options: ReadOptions,
  files: Array<FileReport>,
): Stream.Stream<Decoded<Records[K]>, InvalidInput> {
  return Stream.fromAsyncIterable(decodeAll(path, kind, options, files), (error) => {
    if (error instanceof InvalidInput) return error;
    const { message, remedy } = unreadable(error);
    return new InvalidInput({ problems: [{ where: path, problem: message, remedy }] });
  });
}

async function* decodeAll<K extends Kind>(
  path: string,
  kind: K,
  options: ReadOptions,
  files: Array<FileReport>,
): AsyncGenerator<Decoded<Records[K]>> {
  for (const file of await listFiles(path)) {
    const report = emptyReport(file);
    files.push(report);
    yield* decodeFile(report, kind, options);
  }
  const problems = refusal(path, files, options.badShare ?? 0);
  if (problems.length > 0) throw new InvalidInput({ problems });
}

/** Why the data is not fit to start with, if it is not. */
function refusal(path: string, files: ReadonlyArray<FileReport>, badShare: number): ReadonlyArray<Problem> {
  const sum = (field: "rows" | "badRows") => files.reduce((total, file) => total + file[field], 0);
  const [rows, bad] = [sum("rows"), sum("badRows")];
  if (bad <= badShare * rows && !files.some((file) => file.unreadable)) return [];
  const problems = files.flatMap((file) => file.problems);
  if (badShare === 0 && bad <= problems.length) return problems;
  const share = ((100 * bad) / Math.max(1, rows)).toFixed(1);
  const found = `${bad} of ${rows} rows are bad (${share} %), at most ${100 * badShare} % are allowed`;
  return [
    ...problems,
    { where: path, problem: found, remedy: "mend the rows above, or allow a larger share" },
  ];
}
