import { type FileReport, refuseFile } from "./_file_report.ts";
import { openFile, type SourceRow } from "./_rows.ts";
import { isObject } from "./_value.ts";
import type { Format, Kind, Reader, Records } from "./format.ts";
import { formats } from "./formats/mod.ts";
import type { ReadOptions } from "./read.ts";

/** So many rows are looked at to recognize a format. */
export const lookahead = 100;

export interface Recognized<A> {
  readonly format: Format | undefined;
  readonly read: Reader<A>;
}

/**
 * The format of a file is that of its first row that is recognized as one that has what is asked for; so a row that
 * lacks a field is reported as such.
 */
export function recognize<K extends Kind>(
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
  const mapped = seen.map((row) => mapFields(row, options.fields));
  const objects = mapped.flatMap((row) => ("value" in row && isObject(row.value) ? [row.value] : []));
  const isFormat = (format: Format) =>
    options.format === undefined ? objects.some(format.recognizes) : format.name === options.format;
  return formats.filter(isFormat).flatMap(({ reads }) => Object.keys(reads) as Array<Kind>);
}

/** Puts the fields of a row where a format looks for them; a dot leads into an object. */
export function mapFields(row: SourceRow, fields: ReadOptions["fields"]): SourceRow {
  if (fields === undefined || !("value" in row) || !isObject(row.value)) return row;
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

/** The shortest examples are the plainest; of the other formats the name will do. */
export function remedyOf(kind: Kind): string {
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
