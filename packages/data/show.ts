import { readFile } from "node:fs/promises";
import { InvalidInput } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { unreadable } from "./_bytes.ts";
import { listFiles } from "./_files.ts";
import { kindsOf } from "./_recognize.ts";
import type { Kind } from "./format.ts";
import { type AnyRecord, type Inspection, Inspector } from "./inspect.ts";
import { contentOf } from "./messages.ts";
import { type FileReport, type ReadOptions, readData, streamData } from "./read.ts";

export interface ShowOptions extends ReadOptions {
  /** Default: what the format of the first file has first. */
  readonly kind?: Kind;
  /** A file that will be measured with. */
  readonly evaluation?: string;
  /** A `tokenizer.json`. */
  readonly tokenizer?: string;
}

/**
 * What is understood of a file or folder, as a page of text: format, counts, lengths in tokens, duplicates, near
 * duplicates between it and the evaluation, labels, three samples, the first problems.
 *
 * Fails with `InvalidInput` when nothing can be read of it, or more than `badShare` of the rows are bad.
 */
export const show = Effect.fn("data.show")(function* (path: string, options: ShowOptions = {}) {
  const kind = options.kind ?? (yield* kindOf(path, options));
  const { count, unit } = yield* counter(options.tokenizer);
  const { evaluation } = options;
  const others = evaluation === undefined ? undefined : yield* readData(evaluation, kind, options);
  const inspector = new Inspector({ count, evaluation: others?.records ?? [] });
  const files: Array<FileReport> = [];
  const started = performance.now();
  yield* Stream.runForEach(streamData(path, kind, options, files), (batch) =>
    Effect.sync(() => inspector.add(batch)),
  );
  const seconds = (performance.now() - started) / 1000;
  const page = [
    ...files.map((file) => fileLine(file, kind)),
    "",
    ...inspectionLines(inspector.result(), unit, others?.records.length),
    ...problemLines(files),
    "",
    `read in ${seconds.toFixed(1)} s, ${perSecond(files, seconds)}`,
  ];
  return page.join("\n");
});

const kindOf = (path: string, options: ReadOptions) =>
  Effect.tryPromise({
    try: async (): Promise<Kind> => {
      const [file] = await listFiles(path);
      // Of a format that nobody knows, reading as anything tells what is wrong.
      return (await kindsOf(file!, options))[0] ?? "demonstrations";
    },
    catch: (error) => refused(path, error),
  });

/** By name, and only when asked for: this package does without. */
const tokenizerPackage = "@rlhf/tokenizer";

const counter = (file: string | undefined) =>
  file === undefined
    ? Effect.succeed({ count: wordsAndMarks, unit: "words and marks; --tokenizer counts tokens" })
    : Effect.tryPromise({
        try: async () => {
          const { tokenizerFromJson } = await import(tokenizerPackage);
          const tokenizer = tokenizerFromJson(JSON.parse(await readFile(file, "utf8")));
          return { count: (text: string): number => tokenizer.encode(text).length, unit: "tokens" };
        },
        catch: (error) => (error instanceof InvalidInput ? error : refused(file, error)),
      });

function refused(where: string, error: unknown): InvalidInput {
  const { message: problem, remedy } = unreadable(error);
  return new InvalidInput({ problems: [{ where, problem, remedy }] });
}

function wordsAndMarks(text: string): number {
  let count = 0;
  for (const _ of text.matchAll(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)) count++;
  return count;
}

function fileLine(file: FileReport, kind: Kind): string {
  const found = `${file.file}: ${file.container ?? "unknown"}, ${file.format ?? "no known format"}`;
  const counts = [
    `${number(file.rows)} rows`,
    `${number(file.records)} ${kind}`,
    ...some(file.badRows, "bad rows"),
    ...some(file.diverging, "pairs that part before the last turn"),
    ...some(file.withEmptyResponse, "with an empty response"),
    ...some(file.dropped, "of these left out"),
  ];
  return `${found}: ${counts.join(", ")}`;
}

function some(count: number, what: string): ReadonlyArray<string> {
  return count === 0 ? [] : [`${number(count)} ${what}`];
}

function inspectionLines(
  found: Inspection,
  unit: string,
  evaluated: number | undefined,
): ReadonlyArray<string> {
  const rows = found.lengths.map(({ part, count, p50, p95, max }) => [part, count, p50, p95, max]);
  const balance = Object.entries(found.balance).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...table([[`length in ${unit}`, "count", "p50", "p95", "max"], ...rows]),
    "",
    `duplicates: ${number(found.duplicates)} of ${number(found.records)}`,
    ...(evaluated === undefined
      ? []
      : [
          `near duplicates: ${number(found.nearDuplicates.length)} of ${number(evaluated)} evaluation prompts are also trained on`,
          ...found.nearDuplicates.slice(0, 3).map(({ evaluation, training, similarity }) => {
            return `  ${similarity.toFixed(2)}  ${brief(evaluation)}  ~  ${brief(training)}`;
          }),
        ]),
    ...(balance.length === 0
      ? []
      : [
          "",
          ...table([
            ["labels", "count", "share"],
            ...balance.map(([label, count]) => [label, count, percent(count, found.records)]),
          ]),
        ]),
    ...found.samples.flatMap((sample, i) => ["", `sample ${i + 1}`, ...sampleLines(sample)]),
  ];
}

function sampleLines(record: AnyRecord): ReadonlyArray<string> {
  if (typeof record === "string") return [`  ${brief(record, 300)}`];
  if ("messages" in record) {
    return record.messages.map((message) => `  ${message.role}: ${brief(contentOf(message), 200)}`);
  }
  const prompt = `  prompt: ${brief(record.prompt, 200)}`;
  if ("ranks" in record) {
    return [
      prompt,
      ...record.responses.map((response, i) => `  rank ${record.ranks[i]}: ${brief(response, 200)}`),
    ];
  }
  const label = "desirable" in record ? (record.desirable ? "good" : "bad") : "response";
  return [prompt, `  ${label}: ${brief(record.response, 200)}`];
}

function problemLines(files: ReadonlyArray<FileReport>): ReadonlyArray<string> {
  const problems = files.flatMap((file) => file.problems);
  if (problems.length === 0) return [];
  return ["", "problems", ...problems.slice(0, 10).map(({ where, problem }) => `  ${where}: ${problem}`)];
}

/** Columns side by side: text to the left, numbers to the right. */
function table(rows: ReadonlyArray<ReadonlyArray<string | number>>): ReadonlyArray<string> {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === "number" ? number(cell) : cell)));
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("   ")
      .trimEnd(),
  );
}

function perSecond(files: ReadonlyArray<FileReport>, seconds: number): string {
  const megabytes = files.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
  return `${megabytes.toFixed(1)} MB, ${(megabytes / seconds).toFixed(0)} MB/s`;
}

function brief(text: string, length = 60): string {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

function number(count: number): string {
  return count.toLocaleString("en");
}

function percent(count: number, of: number): string {
  return `${((100 * count) / of).toFixed(1)} %`;
}
