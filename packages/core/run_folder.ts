import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Layer from "effect/Layer";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";
import { holdLock } from "./_lock.ts";

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
 * checkpoints and the report. One process at a time holds it; another fails with `RunInUse`. Files are written whole to
 * a temporary name and renamed; the `.jsonl` files grow by whole lines, whatever interrupts.
 */
export class RunFolder extends Context.Service<
  RunFolder,
  {
    readonly path: string;
    /** The path of a file or folder inside the run folder. */
    readonly file: (name: string) => string;
    readonly writeText: (name: string, text: string) => Effect.Effect<void, PlatformError.PlatformError>;
    readonly writeJson: (name: string, value: unknown) => Effect.Effect<void, PlatformError.PlatformError>;
    readonly appendMetrics: (
      stage: string,
      step: number,
      metrics: Readonly<Record<string, number>>,
    ) => Effect.Effect<void, PlatformError.PlatformError>;
    readonly appendSamples: (
      rows: ReadonlyArray<unknown>,
    ) => Effect.Effect<void, PlatformError.PlatformError>;
    readonly appendWarning: (
      stage: string,
      step: number,
      warning: Warning,
    ) => Effect.Effect<void, PlatformError.PlatformError>;
  }
>()("@rlhf/core/RunFolder") {
  static readonly layer = (path: string) =>
    Layer.effect(
      RunFolder,
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem;
        const paths = yield* Path.Path;
        const file = (name: string) => paths.join(path, name);
        yield* files.makeDirectory(path, { recursive: true });
        yield* holdLock(path, file("run.lock"));
        const writeText = Effect.fnUntraced(function* (name: string, text: string) {
          yield* files.makeDirectory(paths.dirname(file(name)), { recursive: true });
          const temporary = `${file(name)}.partial`;
          yield* files.writeFileString(temporary, text);
          yield* files.rename(temporary, file(name));
        });
        const append = (name: string, rows: ReadonlyArray<unknown>) => {
          const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
          return Effect.uninterruptible(files.writeFileString(file(name), text, { flag: "a" }));
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
