import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Layer from "effect/Layer";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";
import { holdLock } from "./_lock.ts";
import { RunFolderFailed } from "./errors.ts";
import { makeFolder } from "./make_folder.ts";

/** One line of `metrics.jsonl`. */
export interface MetricsRow {
  readonly stage: string;
  readonly step: number;
  readonly [metric: string]: string | number;
}

/** Something about a run that deserves a look: what was found, and what to do. One line of `warnings.jsonl` with its place. */
export interface Warning {
  readonly rule: string;
  readonly problem: string;
  readonly remedy: string;
}

/**
 * Where a run leaves what it did: `config.json`, `manifest.json`, `metrics.jsonl`, `samples.jsonl`, `warnings.jsonl`,
 * checkpoints and the report. One process at a time holds it; another fails with `RunInUse`. Where nothing can be written, it fails with `RunFolderFailed`. Files are written whole to
 * a temporary name and renamed; the `.jsonl` files grow by whole lines, whatever interrupts.
 */
export class RunFolder extends Context.Service<
  RunFolder,
  {
    readonly path: string;
    /** The path of a file or folder inside the run folder. */
    readonly file: (name: string) => string;
    readonly writeText: (name: string, text: string) => Effect.Effect<void, RunFolderFailed>;
    readonly writeJson: (name: string, value: unknown) => Effect.Effect<void, RunFolderFailed>;
    readonly appendMetrics: (
      stage: string,
      step: number,
      metrics: Readonly<Record<string, number>>,
    ) => Effect.Effect<void, RunFolderFailed>;
    readonly appendSamples: (rows: ReadonlyArray<unknown>) => Effect.Effect<void, RunFolderFailed>;
    readonly appendWarning: (
      stage: string,
      step: number,
      warning: Warning,
    ) => Effect.Effect<void, RunFolderFailed>;
  }
>()("@rlhf/core/RunFolder") {
  static readonly layer = (path: string) =>
    Layer.effect(
      RunFolder,
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem;
        const paths = yield* Path.Path;
        const file = (name: string) => paths.join(path, name);
        const failed = (error: PlatformError.PlatformError) =>
          new RunFolderFailed({ path, problem: error.message });
        const services = yield* Effect.context<FileSystem.FileSystem | Path.Path>();
        yield* Effect.mapError(makeFolder(path), failed);
        yield* Effect.mapError(holdLock(path, file("run.lock")), (error) =>
          error._tag === "RunInUse" ? error : failed(error),
        );
        const write = Effect.fnUntraced(function* (name: string, text: string) {
          yield* Effect.provide(makeFolder(paths.dirname(file(name))), services);
          const temporary = `${file(name)}.partial`;
          yield* files.writeFileString(temporary, text);
          yield* files.rename(temporary, file(name));
        });
        const writeText = (name: string, text: string) => Effect.mapError(write(name, text), failed);
        const append = (name: string, rows: ReadonlyArray<unknown>) => {
          const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
          const written = files.writeFileString(file(name), text, { flag: "a" });
          return Effect.uninterruptible(Effect.mapError(written, failed));
        };
        return {
          path,
          file,
          writeText,
          writeJson: (name, value) => writeText(name, `${JSON.stringify(value, null, 2)}\n`),
          appendMetrics: (stage, step, metrics) => append("metrics.jsonl", [{ stage, step, ...metrics }]),
          appendSamples: (rows) => append("samples.jsonl", rows),
          appendWarning: (stage, step, warning) => append("warnings.jsonl", [{ stage, step, ...warning }]),
        };
      }),
    );

  /** Keeps nothing: for tests and for callers that only want the result. */
  static readonly layerMemory = Layer.succeed(RunFolder, {
    path: "",
    file: (name) => name,
    writeText: () => Effect.void,
    writeJson: () => Effect.void,
    appendMetrics: () => Effect.void,
    appendSamples: () => Effect.void,
    appendWarning: () => Effect.void,
  });
}
