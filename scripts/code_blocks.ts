/**
 * The code that is shown to people: fenced blocks of every Markdown page and doc comment, and the commands that doc
 * comments indent. `code_blocks_test.ts` type-checks, runs and checks all of it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface CodeBlock {
  /** Relative to the root of the repository. */
  readonly file: string;
  /** Of the first line of code, from 1. */
  readonly line: number;
  /** As the fence says; `""` where it says nothing. */
  readonly language: string;
  readonly code: string;
}

/** Every block of every page and source file below `root`. */
export function codeBlocks(root: string): Array<CodeBlock> {
  return filesBelow(root).flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return file.endsWith(".md") ? blocksOfPage(file, text) : blocksOfComments(file, text);
  });
}

const passedOver = new Set(["node_modules", "dist", "build", "runs", "golden", "api"]);

function filesBelow(root: string, folder = ""): Array<string> {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".") || passedOver.has(entry.name)) return [];
    if (entry.isDirectory()) return filesBelow(root, path);
    return /\.(md|ts|js|mjs)$/.test(entry.name) ? [path] : [];
  });
}

/**
 * The fenced blocks of a Markdown page, and its comments that begin with `<!-- ts`: what a program needs around a block
 * and a reader does not.
 */
export function blocksOfPage(file: string, text: string, firstLine = 1): Array<CodeBlock> {
  const blocks: Array<CodeBlock> = [];
  let open: { indent: number; end: string; language: string; line: number; code: Array<string> } | undefined;
  text.split("\n").forEach((line, index) => {
    const [, indent, fence, language] = /^( *)(```+|<!--(?= ts$)|-->$) *(\w*)/.exec(line) ?? [];
    if (open !== undefined && fence === open.end && language === "") {
      blocks.push({ file, line: open.line, language: open.language, code: open.code.join("\n") });
      open = undefined;
    } else if (open !== undefined) {
      open.code.push(line.slice(Math.min(open.indent, line.search(/\S|$/))));
    } else if (fence !== undefined && fence !== "-->") {
      const end = fence === "<!--" ? "-->" : fence;
      open = { indent: indent!.length, end, language: language!, line: firstLine + index + 1, code: [] };
    }
  });
  if (open !== undefined) throw new Error(`${file}:${open.line - 1}: the fence is not closed`);
  return blocks;
}

/**
 * The fenced blocks of the doc comments of a source file, and their commands: indented lines that begin with npm, npx,
 * node or bash.
 */
export function blocksOfComments(file: string, source: string): Array<CodeBlock> {
  return Array.from(source.matchAll(/^[ \t]*\/\*\*.*?\*\//gms)).flatMap(({ 0: comment, index }) => {
    const firstLine = source.slice(0, index).split("\n").length;
    const lines = comment.split("\n").map((line) => line.replace(/^\s*(\/\*\*|\*\/|\*) ?|\s*\*\/$/g, ""));
    lines.forEach((line, i) => {
      const next = lines.slice(i + 1).find((other) => other.trim() !== "");
      if (line.trim() === "@example" && !next?.trimStart().startsWith("```"))
        throw new Error(`${file}:${firstLine + i}: write the example in a fence, so that it is run`);
    });
    const commands = lines.flatMap((code, i) =>
      /^ {4,}(npm|npx|node|bash) /.test(code)
        ? [{ file, line: firstLine + i, language: "sh", code: code.trim() }]
        : [],
    );
    return [...blocksOfPage(file, lines.join("\n"), firstLine), ...commands];
  });
}

/** Blocks that run as one program. */
export interface Program {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  /** Every line of code has the number that it has in `file`. */
  readonly source: string;
}

/** A block that imports begins a program; one that does not goes on with the program above it. */
export function programs(blocks: ReadonlyArray<CodeBlock>): Array<Program> {
  const found: Array<Program> = [];
  for (const { file, line, language, code } of blocks) {
    if (language !== "ts" && language !== "js") continue;
    const above = found.at(-1);
    if (above?.file === file && above.language === language && !/^\s*import\b/m.test(code))
      found[found.length - 1] = { ...above, source: placed(above.source, line, code) };
    else found.push({ file, line, language, source: placed("", line, code) });
  }
  return found;
}

function placed(before: string, line: number, code: string): string {
  return before + "\n".repeat(line - before.split("\n").length) + code;
}
