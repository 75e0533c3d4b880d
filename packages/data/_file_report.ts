import type { Problem } from "@rlhf/core/errors";
import type { Container, SourceRow } from "./_rows.ts";

/** What was found in a file, and what became of it. It grows while the file is read. */
export interface FileReport {
  readonly file: string;
  container?: Container;
  /** The name of the format; nothing when none was recognized. */
  format?: string;
  /** Of the rows, unpacked. */
  bytes: number;
  rows: number;
  /** Rows with a problem, which give no records. */
  badRows: number;
  /** The file broke off, or is of no known format: how much is lost is not known. */
  unreadable: boolean;
  records: number;
  /** Rankings whose transcripts part before the last turn. */
  diverging: number;
  /** Rankings with an empty response. */
  withEmptyResponse: number;
  /** How many of these two were left out. */
  dropped: number;
  /** Those of the first bad rows. */
  readonly problems: Array<Problem>;
}

export function emptyReport(file: string): FileReport {
  const counts = {
    bytes: 0,
    rows: 0,
    badRows: 0,
    records: 0,
    diverging: 0,
    withEmptyResponse: 0,
    dropped: 0,
  };
  return { file, ...counts, unreadable: false, problems: [] };
}

/** A million broken rows are told by the first of them and their number. */
const mostProblems = 1000;

export function countRow(report: FileReport, row: SourceRow): void {
  report.rows++;
  report.bytes += row.bytes;
}

export function refuseRow(
  report: FileReport,
  at: number,
  problems: ReadonlyArray<string>,
  remedy: string,
): void {
  report.badRows++;
  if (report.problems.length >= mostProblems) return;
  report.problems.push(...problems.map((problem) => ({ where: `${report.file}:${at}`, problem, remedy })));
}

/** Nobody knows how much of the file is lost. */
export function refuseFile(report: FileReport, problem: string, remedy: string, at?: number): void {
  report.unreadable = true;
  const where = at === undefined ? report.file : `${report.file}:${at}`;
  report.problems.push({ where, problem, remedy });
}
