import type { Ranking } from "@rlhf/core/records";
import { unreadable } from "./_bytes.ts";
import { countRow, type FileReport, refuseFile, refuseRow } from "./_file_report.ts";
import { lookahead, mapFields, type Recognized, recognize, remedyOf } from "./_recognize.ts";
import { openFile, type SourceRow } from "./_rows.ts";
import { isObject, type JsonObject, show, Value } from "./_value.ts";
import type { FormatOptions, Kind, Records } from "./format.ts";
import { holdsTurns } from "./formats/hh.ts";
import { transcripts } from "./messages.ts";
import type { ReadOptions } from "./read.ts";

/** Some records of a file, and for each the row that gave it and nothing else, where that is JSON of its own. */
export interface Decoded<A> {
  readonly records: ReadonlyArray<A>;
  readonly rows: ReadonlyArray<Buffer | undefined>;
  /** The record of such a row. */
  readonly again: (row: Buffer) => A;
}

/** Reads the records of one kind from a file, in batches. What is wrong goes into the report, and reading goes on. */
export async function* decodeFile<K extends Kind>(
  report: FileReport,
  kind: K,
  options: ReadOptions,
): AsyncGenerator<Decoded<Records[K]>> {
  try {
    const { container, rows } = await openFile(report.file);
    report.container = container;
    if (container === "text") yield* decodeText(report, kind, rows);
    else yield* decodeRows(report, kind, options, rows);
    if (report.rows === 0) refuseFile(report, "the file has no rows", remedyOf(kind));
  } catch (error) {
    const { message, remedy } = unreadable(error);
    refuseFile(report, message, remedy);
  }
}

async function* decodeText<K extends Kind>(
  report: FileReport,
  kind: K,
  rows: AsyncGenerator<ReadonlyArray<SourceRow>>,
): AsyncGenerator<Decoded<Records[K]>> {
  for await (const batch of rows) {
    for (const row of batch) {
      countRow(report, row);
      if ("problem" in row) refuseRow(report, row.at, [row.problem], "save the file as UTF-8");
      else if (kind === "texts") {
        report.format = "plain text";
        report.records++;
        yield { records: [row.value as Records[K]], rows: [], again: () => row.value as Records[K] };
      } else {
        const found = show(String(row.value).trim().split("\n", 1)[0]);
        refuseFile(report, `expected rows of JSON, a table or Parquet, found ${found}`, remedyOf(kind));
      }
    }
  }
}

async function* decodeRows<K extends Kind>(
  report: FileReport,
  kind: K,
  options: ReadOptions,
  batches: AsyncGenerator<ReadonlyArray<SourceRow>>,
): AsyncGenerator<Decoded<Records[K]>> {
  let decoder: Decoder<Records[K]> | undefined;
  let waiting: Array<SourceRow> = [];

  const decode = (rows: ReadonlyArray<SourceRow>) => {
    const mapped = rows.map((row) => mapFields(row, options.fields));
    decoder ??= new Decoder(report, recognize(report, kind, options, mapped), options);
    for (const row of mapped) decoder.add(row);
    return decoder.take();
  };
  for await (const batch of batches) {
    if (decoder === undefined) {
      waiting.push(...batch);
      if (waiting.length < lookahead) continue;
    }
    yield decode(decoder === undefined ? waiting : batch);
    waiting = [];
  }
  if (waiting.length > 0) yield decode(waiting);
  decoder?.endGroup();
  if (decoder !== undefined) yield decoder.take();
}

type ObjectRow = Extract<SourceRow, { value: unknown }> & { readonly value: JsonObject };

/** Turns rows into records. */
class Decoder<A> {
  private readonly report: FileReport;
  private readonly recognized: Recognized<A>;
  private readonly formatOptions: FormatOptions;
  private readonly isTable: boolean;
  private readonly options: ReadOptions;
  /** Rows of one group that may go on. */
  private group: { readonly key: unknown; readonly at: number; readonly rows: Array<JsonObject> } | undefined;
  private records: Array<A> = [];
  private rows: Array<Buffer | undefined> = [];

  constructor(report: FileReport, recognized: Recognized<A>, options: ReadOptions) {
    this.report = report;
    this.recognized = recognized;
    this.formatOptions = { rendering: transcripts, ...options };
    this.isTable = report.container === "CSV" || report.container === "TSV";
    this.options = options;
  }

  add(row: SourceRow): void {
    countRow(this.report, row);
    const problem = "problem" in row ? row.problem : notAnObject(row.value);
    if (problem !== undefined) refuseRow(this.report, row.at, [problem], "mend or remove the row");
    else this.addObject(row as ObjectRow);
  }

  /** Reads the rows that were still waiting for more of their group. */
  endGroup(): void {
    const { group } = this;
    this.group = undefined;
    if (group !== undefined) this.read(group.rows, group.at, undefined);
  }

  /** What came since the last time. */
  take(): Decoded<A> {
    const { records, rows, again } = this;
    this.records = [];
    this.rows = [];
    return { records, rows, again };
  }

  private readonly again = (row: Buffer): A => {
    const value: unknown = JSON.parse(row.toString("utf8"));
    const mapped = mapFields({ at: 0, bytes: 0, value, json: row }, this.options.fields) as {
      value: unknown;
    };
    const clean = new Value(mapped.value, [], { isClean: true }); // it was looked at when it was read
    return this.recognized.read(clean, this.formatOptions)[0]!;
  };

  private addObject({ value, at, json }: ObjectRow): void {
    const groupBy = this.recognized.format?.groupBy;
    if (groupBy === undefined) {
      this.read(value, at, json);
      return;
    }
    const key = groupBy(value);
    if (this.group?.key === key) this.group!.rows.push(value);
    else {
      this.endGroup();
      this.group = { key, at, rows: [value] };
    }
  }

  private read(value: unknown, at: number, row: Buffer | undefined): void {
    const problems: Array<string> = [];
    const { format, read } = this.recognized;
    // JSON in UTF-8 can have halves of surrogate pairs and null characters only as \\u….
    const isClean = row !== undefined && !row.includes("\\u");
    const found = new Value(value, problems, { isText: this.isTable, isClean });
    const records = read(found, this.formatOptions);
    if (problems.length > 0) {
      refuseRow(this.report, at, problems, `write rows that look like ${format!.example}`);
      return;
    }
    for (const record of records) {
      if (!this.isWanted(record)) continue;
      this.report.records++;
      this.records.push(record);
      this.rows.push(records.length === 1 ? row : undefined);
    }
  }

  private isWanted(record: A): boolean {
    if (!isRanking(record)) return true;
    const isEmpty = record.responses.some((response) => response.trim() === "");
    const isDiverging = this.recognized.format?.name === "hh-rlhf" && record.responses.some(holdsTurns);
    if (isEmpty) this.report.withEmptyResponse++;
    if (isDiverging) this.report.diverging++;
    const { emptyResponses, diverging } = this.options;
    const isDropped = (isEmpty && emptyResponses === "drop") || (isDiverging && diverging === "drop");
    if (isDropped) this.report.dropped++;
    return !isDropped;
  }
}

function notAnObject(value: unknown): string | undefined {
  return isObject(value) ? undefined : `expected an object, found ${show(value)}`;
}

function isRanking(record: unknown): record is Ranking {
  return isObject(record) && "ranks" in record;
}
