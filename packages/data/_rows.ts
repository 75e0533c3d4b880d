import { isUtf8 } from "node:buffer";
import { firstBytes, notUtf8, readBytes, Unreadable } from "./_bytes.ts";
import { readJsonLines, readJsonList } from "./_json_rows.ts";
import { isParquet, readParquet } from "./_parquet_rows.ts";
import { readTable, type Separator } from "./_table_rows.ts";

/**
 * A row of a file: the line on which it begins (the number of the row in Parquet) and its value, or why it has none.
 * `json` is what the value was parsed from.
 */
export type SourceRow =
  | { readonly at: number; readonly value: unknown; readonly bytes: number; readonly json?: Buffer }
  | { readonly at: number; readonly problem: string; readonly bytes: number };

/** How a file holds its rows. */
export type Container = "JSON lines" | "JSON list" | "CSV" | "TSV" | "Parquet" | "text";

export interface OpenFile {
  readonly container: Container;
  /** Rows in batches, so that a row costs no turn of the event loop. Throws `Unreadable` where the file breaks off. */
  readonly rows: AsyncGenerator<ReadonlyArray<SourceRow>>;
  /** For those who do not read the rows. */
  readonly close: () => Promise<unknown>;
}

/** How much of a file is looked at to tell what it is. */
const headBytes = 64 * 1024;

/**
 * Opens a file and tells by its content what holds its rows. Text that is none of the others is one row, a string.
 *
 * @throws Unreadable when it is not there, empty, or of another encoding
 */
export async function openFile(file: string): Promise<OpenFile> {
  if (isParquet(await firstBytes(file, 4))) {
    return { container: "Parquet", rows: readParquet(file), close: async () => {} };
  }
  const bytes = readBytes(file);
  const close = () => bytes.return(undefined);
  const first = await bytes.next();
  const head: Buffer = first.done ? Buffer.alloc(0) : first.value;
  const start = head.toString("utf8", 0, headBytes).replace(/^\ufeff/, "");
  const container = containerOf(start, file);
  if (isUtf16(head) || container === undefined) {
    await close();
    throw isUtf16(head) ? utf16 : empty;
  }
  const all = prepend(head.subarray(hasByteOrderMark(head) ? 3 : 0), bytes);
  return { container, rows: rowsOf(container, all, start), close };
}

function rowsOf(container: Container, bytes: AsyncGenerator<Buffer>, start: string): OpenFile["rows"] {
  switch (container) {
    case "JSON lines":
      return readJsonLines(bytes);
    case "JSON list":
      return readJsonList(bytes);
    case "CSV":
      return readTable(bytes, separatorOf(start));
    case "TSV":
      return readTable(bytes, "\t");
    default:
      return readWhole(bytes);
  }
}

const empty = new Unreadable("the file is empty", "write the data again, or remove the file");
const utf16 = new Unreadable("expected UTF-8 text, found UTF-16", "save the file as UTF-8");

function isUtf16(bytes: Buffer): boolean {
  return (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
}

function hasByteOrderMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}

/** Prose may begin with a bracket and hold commas: rows of JSON open with an object, tables are told by their name. */
function containerOf(start: string, file: string): Container | undefined {
  if (start.trim() === "") return undefined;
  if (/^\s*\[\s*([{\]]|$)/.test(start)) return "JSON list";
  if (/^\s*\{\s*("|\}|$)/.test(start) || /\.(jsonl|ndjson)(\.gz)?$/.test(file)) return "JSON lines";
  if (/\.json(\.gz)?$/.test(file)) return start.trimStart().startsWith("[") ? "JSON list" : "JSON lines";
  if (/\.tsv(\.gz)?$/.test(file)) return "TSV";
  if (/\.csv(\.gz)?$/.test(file)) return "CSV";
  return "text";
}

/** Spreadsheets of many countries write semicolons. */
function separatorOf(start: string): Separator {
  const header = start.split("\n", 1)[0]!;
  return header.includes(",") || !header.includes(";") ? "," : ";";
}

async function* prepend(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}

/** A text file is one document. */
async function* readWhole(chunks: AsyncGenerator<Buffer>): AsyncGenerator<ReadonlyArray<SourceRow>> {
  const parts: Array<Buffer> = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > 2 ** 29)
      throw new Unreadable("a text of more than 512 MiB is one document", "cut it into files or rows");
    parts.push(chunk);
  }
  const bytes = Buffer.concat(parts);
  if (isUtf8(bytes)) yield [{ at: 1, value: bytes.toString("utf8"), bytes: size }];
  else yield badLines(bytes).map((at): SourceRow => ({ at, problem: notUtf8, bytes: 0 }));
}

/** Numbers of the lines that are not UTF-8. No character but the line feed has its byte, so lines decode apart. */
function badLines(bytes: Buffer): Array<number> {
  const bad: Array<number> = [];
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed + 1;
    if (!isUtf8(bytes.subarray(start, end))) bad.push(line);
    start = end;
  }
  return bad;
}
