import * as Result from "effect/Result";
import type { TextFile } from "./_read_text.ts";

/** A row of a file and where it begins, `file:line`; a failure holds why it is not JSON. */
export interface JsonRow {
  readonly where: string;
  readonly value: Result.Result<unknown, string>;
}

/** The rows of a JSON list or of JSON lines; which of them it is shows in the first character. */
export function readRows({ file, text }: TextFile): Array<JsonRow> {
  const pieces = text.trimStart().startsWith("[") ? listPieces(text) : linePieces(text);
  return pieces.map(({ line, source }) => ({
    where: `${file}:${line}`,
    value: Result.try({
      try: (): unknown => JSON.parse(source),
      catch: (error) => `not JSON: ${(error as Error).message}`,
    }),
  }));
}

/** A stretch of text that should be a JSON value. */
interface Piece {
  readonly line: number;
  readonly source: string;
}

function linePieces(text: string): Array<Piece> {
  const lines = text.split("\n").map((source, i) => ({ line: i + 1, source }));
  return lines.filter(({ source }) => source.trim() !== "");
}

/**
 * The elements of a JSON list as they are written, so that each has its line and parses by itself. Text behind the
 * list and a list that is never closed come as pieces that do not parse.
 */
function listPieces(text: string): Array<Piece> {
  const pieces: Array<Piece> = [];
  let depth = 0;
  let line = 1;
  let start = { at: 0, line: 1 };
  const endPiece = (at: number) => {
    const source = text.slice(start.at, at);
    const before = source.length - source.trimStart().length;
    pieces.push({ line: start.line + source.slice(0, before).split("\n").length - 1, source });
    start = { at: at + 1, line };
  };
  for (const { 0: mark, index } of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},\n]/g)) {
    if (mark === "\n") line++;
    else if (mark === "[" || mark === "{") {
      if (depth++ === 0) start = { at: index + 1, line };
    } else if (mark === "," && depth === 1) endPiece(index);
    else if ((mark === "]" || mark === "}") && --depth === 0) {
      const isEmpty = pieces.length === 0 && text.slice(start.at, index).trim() === "";
      if (!isEmpty) endPiece(index);
      const behind = text.slice(index + 1);
      return behind.trim() === "" ? pieces : [...pieces, { line, source: `${mark}${behind}` }];
    }
  }
  endPiece(text.length);
  return [...pieces, { line, source: "[" }];
}
