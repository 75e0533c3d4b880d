import { isUtf8 } from "node:buffer";
import { type Info, parse } from "csv-parse";
import { notUtf8, Unreadable } from "./_bytes.ts";
import type { SourceRow } from "./_rows.ts";

export type Separator = "," | ";" | "\t";

interface Cells {
  readonly record: ReadonlyArray<Buffer>;
  readonly info: Info;
}

const batchRows = 1000;

/**
 * The rows of a table as objects of text (RFC 4180: quoted fields may hold separators, quotes and line breaks). The
 * first row gives the names; when it cannot, because a cell is a number, long, or repeated, and for columns without a
 * name, a column is called `column1`, `column2`, … by its place.
 */
export async function* readTable(
  chunks: AsyncIterable<Buffer>,
  separator: Separator,
): AsyncGenerator<ReadonlyArray<SourceRow>> {
  const parser = parse({
    delimiter: separator,
    info: true,
    encoding: null, // cells as bytes: the parser would decode what is no text without complaint
    relax_column_count: true,
    skip_empty_lines: true,
    // Files of tab-separated text hardly ever quote: a quote in them is a character like any other.
    ...(separator === "\t" ? { quote: null } : {}),
    max_record_size: 32 * 2 ** 20,
  });
  const feed = async () => {
    try {
      for await (const chunk of chunks) {
        if (!parser.write(chunk)) await new Promise((resolve) => parser.once("drain", resolve));
      }
      parser.end();
    } catch (error) {
      parser.destroy(error as Error);
    }
  };
  const fed = feed();
  let names: ReadonlyArray<string> | undefined;
  let rows: Array<SourceRow> = [];
  let [line, read] = [1, 0];
  try {
    for await (const { record, info } of parser as AsyncIterable<Cells>) {
      // `lines` is where the parser stands: a record begins where the one before it ended.
      const at = line;
      line = info.lines + 1;
      const bytes = info.bytes - read;
      read = info.bytes;
      if (names === undefined) {
        const cells = record.map((cell) => cell.toString("utf8").trim());
        const isHeader = looksLikeHeader(cells);
        names = cells.map((name, i) => (isHeader && name !== "" ? name : `column${i + 1}`));
        if (isHeader) continue;
      }
      rows.push(rowOf(names, record, at, bytes));
      if (rows.length >= batchRows) {
        yield rows;
        rows = [];
      }
    }
  } catch (error) {
    yield rows;
    if (error instanceof Unreadable) throw error;
    throw new Unreadable(
      `line ${line}: ${(error as Error).message}`,
      "mend the quotes, or name another format",
    );
  }
  await fed;
  yield rows;
}

function rowOf(
  names: ReadonlyArray<string>,
  record: ReadonlyArray<Buffer>,
  at: number,
  bytes: number,
): SourceRow {
  if (record.length !== names.length) {
    return { at, bytes, problem: `expected ${names.length} columns, found ${record.length}` };
  }
  const bad = record.findIndex((cell) => !isUtf8(cell));
  if (bad >= 0) return { at, bytes, problem: `${names[bad]}: ${notUtf8}` };
  return {
    at,
    bytes,
    value: Object.fromEntries(names.map((name, i) => [name, record[i]!.toString("utf8")])),
  };
}

function looksLikeHeader(cells: ReadonlyArray<string>): boolean {
  const names = cells.filter((name) => name !== "");
  return (
    names.length > 0 &&
    new Set(names).size === names.length &&
    names.every((name) => name.length <= 64 && !/^[-+]?[\d.]+$/.test(name))
  );
}
