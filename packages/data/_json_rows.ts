import { isUtf8 } from "node:buffer";
import { notUtf8 } from "./_bytes.ts";
import type { SourceRow } from "./_rows.ts";

/** A row longer than this is reported and skipped, whatever it holds: no prompt is, and memory stays bounded. */
const longestRow = 32 * 2 ** 20;
const lineFeed = 0x0a;

/** The rows of JSON lines; empty lines are none. */
export async function* readJsonLines(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<ReadonlyArray<SourceRow>> {
  const pending = new Pending();
  let line = 1;
  for await (const chunk of chunks) {
    const rows: Array<SourceRow> = [];
    let start = 0;
    for (let feed = chunk.indexOf(lineFeed); feed >= 0; feed = chunk.indexOf(lineFeed, start)) {
      const row = pending.end(chunk.subarray(start, feed), line++);
      if (row !== undefined) rows.push(row);
      start = feed + 1;
    }
    pending.add(chunk.subarray(start));
    yield rows;
  }
  const last = pending.end(Buffer.alloc(0), line);
  if (last !== undefined) yield [last];
}

const [quote, backslash, comma, openList, closeList, openObject, closeObject] = [
  ...Buffer.from('"\\,[]{}'),
] as [number, number, number, number, number, number, number];

/**
 * The elements of a JSON list, one by one, so that each has its line and a broken one does not hide the others. A list
 * that is never closed and text behind it come as rows with a problem.
 */
export async function* readJsonList(chunks: AsyncIterable<Buffer>): AsyncGenerator<ReadonlyArray<SourceRow>> {
  const pending = new Pending();
  let [depth, line, startLine] = [0, 1, 1];
  let [inString, escaped, blank, closed, empty] = [false, false, true, false, true];
  for await (const chunk of chunks) {
    const rows: Array<SourceRow> = [];
    const end = (from: number, to: number) => {
      const row = pending.end(chunk.subarray(from, to), startLine);
      rows.push(row ?? { at: line, problem: "not JSON: nothing stands between two commas", bytes: 0 });
    };
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === lineFeed) line++;
      if (inString) {
        // Everything up to the closing quote belongs to the string; most of a file is inside strings.
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inString = false;
        continue;
      }
      if (byte <= 0x20) continue;
      if (closed) {
        rows.push({ at: line, problem: "not JSON: there is text behind the list", bytes: 0 });
        yield rows;
        return;
      }
      const isSeparator = depth === 1 && (byte === comma || byte === closeList);
      if (blank && depth > 0 && !isSeparator) {
        blank = false;
        startLine = line;
      }
      if (byte === quote) inString = true;
      else if (byte === openList || byte === openObject) {
        if (depth++ === 0) start = at + 1;
      } else if (byte === comma && depth === 1) {
        end(start, at);
        start = at + 1;
        blank = true;
        empty = false;
      } else if ((byte === closeList || byte === closeObject) && --depth === 0) {
        closed = true;
        if (!blank || !empty) end(start, at);
        start = chunk.length;
      }
    }
    if (!closed) pending.add(chunk.subarray(start));
    yield rows;
  }
  if (closed) return;
  const last = pending.end(Buffer.alloc(0), startLine);
  const unclosed = {
    at: line,
    problem: "not JSON: the list is not closed: the file may be cut short",
    bytes: 0,
  };
  yield last === undefined ? [unclosed] : [last, unclosed];
}

/** Collects the parts of a row that lies across chunks, up to a limit. */
class Pending {
  private parts: Array<Buffer> = [];
  private size = 0;

  add(part: Buffer): void {
    this.size += part.length;
    if (this.size > longestRow) this.parts = [];
    else if (part.length > 0) this.parts.push(part);
  }

  /** The row that ends with this part; nothing when it is blank. */
  end(part: Buffer, at: number): SourceRow | undefined {
    this.add(part);
    const { parts, size: bytes } = this;
    const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.parts = [];
    this.size = 0;
    if (bytes > longestRow) {
      const problem = `expected a row of at most ${longestRow / 2 ** 20} MiB, found ${Math.ceil(bytes / 2 ** 20)} MiB`;
      return { at, bytes, problem };
    }
    if (!isUtf8(whole)) return { at, bytes, problem: notUtf8 };
    return parseRow(whole, at, bytes + 1);
  }
}

function parseRow(json: Buffer, at: number, bytes: number): SourceRow | undefined {
  const text = json.toString("utf8");
  try {
    const value: unknown = JSON.parse(text);
    const twice = repeatedKey(text, value);
    if (twice === undefined) return { at, value, bytes, json };
    return { at, bytes, problem: `${twice}: expected each field once, found it twice` };
  } catch (error) {
    return text.trim() === "" ? undefined : { at, bytes, problem: `not JSON: ${(error as Error).message}` };
  }
}

/** A field that is written twice in one object: `JSON.parse` keeps the last in silence. */
function repeatedKey(text: string, value: unknown): string | undefined {
  // Every key ends in a quote and a colon. Text may hold the same two, so this only says where to look closer.
  if (countColonsBehindQuotes(text) <= countKeys(value)) return undefined;
  const open: Array<Set<string> | undefined> = [];
  for (const [token, key] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (key !== undefined) {
      const keys = open.at(-1)!;
      const name = JSON.parse(key) as string;
      if (keys.has(name)) return name;
      keys.add(name);
    }
  }
  return undefined;
}

function countColonsBehindQuotes(text: string): number {
  let count = 0;
  for (let colon = text.indexOf(":"); colon >= 0; colon = text.indexOf(":", colon + 1)) {
    let before = colon - 1;
    while (text.charCodeAt(before) <= 0x20) before--;
    if (text.charCodeAt(before) === quote) count++;
  }
  return count;
}

function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + countKeys(item), 0);
  let count = 0;
  for (const key in value) count += 1 + countKeys((value as Record<string, unknown>)[key]);
  return count;
}
