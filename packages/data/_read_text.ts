import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { InvalidInput, type Problem } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";

/** A text file that has something in it. */
export interface TextFile {
  readonly file: string;
  readonly text: string;
}

/** What could be read, and everything that was wrong with the rest. */
export interface Readings<A> {
  readonly values: ReadonlyArray<A>;
  readonly problems: ReadonlyArray<Problem>;
}

/** Reading files: their values, or everything that is wrong with any of them. */
export type Reading<A> = Effect.Effect<ReadonlyArray<A>, InvalidInput, FileSystem.FileSystem | Path.Path>;

/**
 * Reads a file, or all files of a folder and its subfolders in order of their names (those that start with a dot are
 * skipped), and turns each into values. Files may be gzipped.
 */
export const readFiles: <A>(path: string, read: (file: TextFile) => Readings<A>) => Reading<A> =
  Effect.fnUntraced(function* <A>(path: string, read: (file: TextFile) => Readings<A>) {
    const found = yield* Effect.result(listFiles(path));
    if (found._tag === "Failure") return yield* invalid([unreadable(path, found.failure)]);
    if (found.success.length === 0) {
      return yield* invalid([
        {
          where: path,
          problem: "the folder has no files",
          remedy: "put the data into it or name another folder",
        },
      ]);
    }
    const readings = yield* Effect.forEach(found.success, (file) =>
      Effect.match(readText(file), {
        onFailure: (problem): Readings<A> => ({ values: [], problems: [problem] }),
        onSuccess: (text) => read({ file, text }),
      }),
    );
    const problems = readings.flatMap((reading) => reading.problems);
    if (problems.length > 0) return yield* invalid(problems);
    return readings.flatMap((reading) => reading.values);
  });

const invalid = (problems: ReadonlyArray<Problem>) => new InvalidInput({ problems });

const listFiles = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  if ((yield* files.stat(path)).type !== "Directory") return [path];
  const names = (yield* files.readDirectory(path, { recursive: true }))
    .filter((name) => !name.split(paths.sep).some((part) => part.startsWith(".")))
    .sort()
    .map((name) => paths.join(path, name));
  return yield* Effect.filter(names, (name) => Effect.map(files.stat(name), ({ type }) => type === "File"));
});

const readText = Effect.fnUntraced(function* (file: string) {
  const files = yield* FileSystem.FileSystem;
  const raw = yield* Effect.mapError(files.readFile(file), (error) => unreadable(file, error));
  const bytes = isGzip(raw) ? yield* unzip(file, raw) : raw;
  const text = yield* Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => notUtf8(file, bytes),
  });
  if (text.trim() !== "") return text;
  return yield* Effect.fail<Problem>({
    where: file,
    problem: "the file is empty",
    remedy: "write the data again, or remove the file",
  });
});

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function unzip(file: string, bytes: Uint8Array): Effect.Effect<Uint8Array, Problem> {
  return Effect.tryPromise({
    try: () => promisify(gunzip)(bytes),
    catch: (error) => ({
      where: file,
      problem: `the gzip file cannot be unpacked: ${(error as Error).message}`,
      remedy: "copy it again from its source: it may be cut short",
    }),
  });
}

function unreadable(where: string, error: PlatformError.PlatformError): Problem {
  return error.reason._tag === "NotFound"
    ? { where, problem: "there is no such file or folder", remedy: "check the path" }
    : { where, problem: `cannot be read (${error.reason._tag})`, remedy: "check its permissions" };
}

function notUtf8(file: string, bytes: Uint8Array): Problem {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return { where: file, problem: "expected UTF-8 text, found UTF-16", remedy: "save the file as UTF-8" };
  }
  const bad = badLines(bytes);
  return {
    where: `${file}:${bad[0]}`,
    problem: `expected UTF-8 text, found other bytes in ${bad.length === 1 ? "this line" : `${bad.length} lines, first here`}`,
    remedy: "save the file as UTF-8",
  };
}

/** Numbers of the lines that are not UTF-8. No character but the line feed has its byte, so lines decode apart. */
function badLines(bytes: Uint8Array): Array<number> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const bad: Array<number> = [];
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed + 1;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      bad.push(line);
    }
    start = end;
  }
  return bad;
}
