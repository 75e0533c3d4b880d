import type { Problem } from "@rlhf/core/errors";
import type { Ranking } from "@rlhf/core/records";
import { unreadable } from "./_bytes.ts";
import { type Container, openFile, type SourceRow } from "./_rows.ts";
import { isObject, type JsonObject, show, Value } from "./_value.ts";
import type { Format, FormatOptions, Kind, Reader, Records } from "./format.ts";
import { holdsTurns } from "./formats/hh.ts";
import { formats } from "./formats/mod.ts";
import { transcripts } from "./messages.ts";
import type { ReadOptions } from "./read.ts";

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
/** So many rows are looked at to recognize a format. */
const lookahead = 100;

/** Reads the records of one kind from a file, in batches. What is wrong goes into the report, and reading goes on. */
export async function* decodeFile<K extends Kind>(
  report: FileReport,
  kind: K,
  options: ReadOptions,
): AsyncGenerator<ReadonlyArray<Records[K]>> {
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
): AsyncGenerator<ReadonlyArray<Records[K]>> {
  for await (const batch of rows) {
    for (const row of batch) {
      count(report, row);
      if ("problem" in row) refuseRow(report, row.at, [row.problem], "save the file as UTF-8");
      else if (kind === "texts") {
        report.format = "plain text";
        report.records++;
        yield [row.value as Records[K]];
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
): AsyncGenerator<ReadonlyArray<Records[K]>> {
  const isTable = report.container === "CSV" || report.container === "TSV";
  const formatOptions: FormatOptions = { rendering: transcripts, ...options };
  let decoder: Decoder<Records[K]> | undefined;
  let waiting: Array<SourceRow> = [];

  const decode = (rows: ReadonlyArray<SourceRow>): Array<Records[K]> => {
    decoder ??= new Decoder(report, recognize(report, kind, options, rows), formatOptions, isTable, options);
    return rows.flatMap((row) => decoder!.next(row));
  };
  for await (const batch of batches) {
    const mapped = options.fields === undefined ? batch : batch.map((row) => mapFields(row, options.fields!));
    if (decoder === undefined) {
      waiting.push(...mapped);
      if (waiting.length < lookahead) continue;
    }
    const records = decode(decoder === undefined ? waiting : mapped);
    waiting = [];
    if (records.length > 0) yield records;
  }
  const records = waiting.length > 0 ? decode(waiting) : [];
  if (decoder !== undefined) records.push(...decoder.end());
  if (records.length > 0) yield records;
}

interface Recognized<A> {
  readonly format: Format | undefined;
  readonly read: Reader<A>;
}

/**
 * The format of a file is that of its first row that is recognized as one that has what is asked for; so a row that
 * lacks a field is reported as such.
 */
function recognize<K extends Kind>(
  report: FileReport,
  kind: K,
  options: ReadOptions,
  rows: ReadonlyArray<SourceRow>,
): Recognized<Records[K]> {
  const objects = rows.flatMap((row) => ("value" in row && isObject(row.value) ? [row.value] : []));
  const known = objects.map((row) => formats.filter((format) => format.recognizes(row)));
  const isChosen = ({ name }: Format) => name === options.format;
  const format =
    options.format === undefined
      ? known.flatMap((candidates) => candidates.find(({ reads }) => kind in reads) ?? [])[0]
      : formats.find((candidate) => isChosen(candidate) && kind in candidate.reads);
  if (format !== undefined) {
    report.format = format.name;
    return { format, read: format.reads[kind] as Reader<Records[K]> };
  }
  const other = options.format === undefined ? known.flat()[0] : formats.find(isChosen);
  if (other !== undefined) {
    report.format = other.name;
    const held = Object.keys(other.reads).join(" or ");
    refuseFile(report, `expected ${kind}, found the format ${other.name}, which has ${held}`, remedyOf(kind));
  } else if (options.format !== undefined) {
    refuseFile(report, `there is no format ${options.format}`, `choose one of ${namesOf(kind)}`);
  } else if (objects[0] !== undefined) {
    const at = rows.find((row) => "value" in row && row.value === objects[0])!.at;
    const fields = Object.keys(objects[0]).join(", ");
    refuseFile(report, `the format is not known: found the fields ${fields}`, remedyOf(kind), at);
  }
  return { format: undefined, read: () => [] };
}

/** Turns rows into records. */
class Decoder<A> {
  private readonly report: FileReport;
  private readonly recognized: Recognized<A>;
  private readonly formatOptions: FormatOptions;
  private readonly isTable: boolean;
  private readonly options: ReadOptions;
  /** Rows of one group that may go on. */
  private group: { readonly key: unknown; readonly at: number; readonly rows: Array<JsonObject> } | undefined;

  constructor(
    report: FileReport,
    recognized: Recognized<A>,
    formatOptions: FormatOptions,
    isTable: boolean,
    options: ReadOptions,
  ) {
    this.report = report;
    this.recognized = recognized;
    this.formatOptions = formatOptions;
    this.isTable = isTable;
    this.options = options;
  }

  next(row: SourceRow): ReadonlyArray<A> {
    count(this.report, row);
    if ("problem" in row) {
      refuseRow(this.report, row.at, [row.problem], "mend or remove the row");
      return [];
    }
    const { value, at } = row;
    if (!isObject(value)) {
      refuseRow(this.report, at, [`expected an object, found ${show(value)}`], "mend or remove the row");
      return [];
    }
    const groupBy = this.recognized.format?.groupBy;
    if (groupBy === undefined) return this.read(value, at);
    const key = groupBy(value);
    if (this.group?.key === key) {
      this.group!.rows.push(value);
      return [];
    }
    const records = this.end();
    this.group = { key, at, rows: [value] };
    return records;
  }

  /** The records of the rows that were still waiting for more of their group. */
  end(): ReadonlyArray<A> {
    const { group } = this;
    this.group = undefined;
    return group === undefined ? [] : this.read(group.rows, group.at);
  }

  private read(value: unknown, at: number): ReadonlyArray<A> {
    const problems: Array<string> = [];
    const { format, read } = this.recognized;
    const records = read(new Value(value, problems, this.isTable), this.formatOptions);
    if (problems.length > 0) {
      refuseRow(this.report, at, problems, `write rows that look like ${format!.example}`);
      return [];
    }
    const kept = records.filter((record) => this.isWanted(record));
    this.report.records += kept.length;
    return kept;
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

/** What a file can be read as: its format as it shows in its first rows, and the kinds of records that this has. */
export async function kindsOf(file: string, options: ReadOptions = {}): Promise<ReadonlyArray<Kind>> {
  const { container, rows, close } = await openFile(file);
  if (container === "text") {
    await close();
    return ["texts"];
  }
  const seen: Array<SourceRow> = [];
  for await (const batch of rows) {
    seen.push(...batch);
    if (seen.length >= lookahead) break;
  }
  const mapped = seen.map((row) => mapFields(row, options.fields ?? {}));
  const objects = mapped.flatMap((row) => ("value" in row && isObject(row.value) ? [row.value] : []));
  const isFormat = (format: Format) =>
    options.format === undefined ? objects.some(format.recognizes) : format.name === options.format;
  return formats.filter(isFormat).flatMap(({ reads }) => Object.keys(reads) as Array<Kind>);
}

function isRanking(record: unknown): record is Ranking {
  return isObject(record) && "ranks" in record;
}

/** Puts the fields of a row where a format looks for them; a dot leads into an object. */
function mapFields(row: SourceRow, fields: Readonly<Record<string, string>>): SourceRow {
  if (!("value" in row) || !isObject(row.value)) return row;
  const value = row.value;
  const mapped = Object.entries(fields).map(([name, source]) => {
    const found = source in value ? value[source] : source.split(".").reduce(fieldOf, value as unknown);
    return [name, found] as const;
  });
  return { ...row, value: { ...value, ...Object.fromEntries(mapped) } };
}

function fieldOf(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function count(report: FileReport, row: SourceRow): void {
  report.rows++;
  report.bytes += row.bytes;
}

function refuseRow(report: FileReport, at: number, problems: ReadonlyArray<string>, remedy: string): void {
  report.badRows++;
  if (report.problems.length >= mostProblems) return;
  report.problems.push(...problems.map((problem) => ({ where: `${report.file}:${at}`, problem, remedy })));
}

function refuseFile(report: FileReport, problem: string, remedy: string, at?: number): void {
  report.unreadable = true;
  const where = at === undefined ? report.file : `${report.file}:${at}`;
  report.problems.push({ where, problem, remedy });
}

/** The shortest examples are the plainest; of the other formats the name will do. */
function remedyOf(kind: Kind): string {
  const known = formats
    .filter(({ reads }) => kind in reads)
    .sort((a, b) => a.example.length - b.example.length);
  const examples = known.slice(0, 3).map(({ example }) => example);
  const others = known.slice(3).map(({ name }) => name);
  const inOthers = others.length > 0 ? `, use another format (${others.join(", ")})` : "";
  return `write rows that look like ${examples.join(" or ")}${inOthers}, or say which field is which`;
}

function namesOf(kind: Kind): string {
  return formats
    .filter(({ reads }) => kind in reads)
    .map(({ name }) => name)
    .join(", ");
}
