import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Option from "effect/Option";
import type * as PlatformError from "effect/PlatformError";
import * as Stream from "effect/Stream";
import { askBytes, type HubFile, unreachable, whereOf } from "./_client.ts";
import { HubError } from "./hub_error.ts";
import type { HubName } from "./hub_name.ts";
import type { HubSettings } from "./settings.ts";

interface Download {
  readonly settings: HubSettings;
  readonly name: HubName;
  readonly commit: string;
  readonly file: HubFile;
  /** What is here so far: always the first bytes of the file. Two processes that fetch it write the same. */
  readonly partial: string;
}

/**
 * Fetches a file to `blob`, going on where an earlier attempt broke off, and checks its hash. What has been resumed and
 * does not match is fetched anew once.
 */
export const download = Effect.fnUntraced(function* (
  settings: HubSettings,
  name: HubName,
  commit: string,
  file: HubFile,
  blob: string,
) {
  const files = yield* FileSystem.FileSystem;
  const task: Download = { settings, name, commit, file, partial: `${blob}.incomplete` };
  const stage = `fetch ${name.repository}: ${file.path}`;
  yield* publish({ _tag: "Started", stage, total: kilobytes(file.size), unit: "kB" });
  let resumed = (yield* sizeOf(task.partial)) > 0;
  for (;;) {
    yield* receiveAll(task, stage);
    const found = yield* hashOf(task);
    if (found === file.hash) break;
    yield* files.remove(task.partial, { force: true });
    if (resumed) {
      resumed = false;
      continue;
    }
    return yield* new HubError({
      where: whereOf(name, file.path),
      reason: "Corrupt",
      problem: `its hash is ${found}, and must be ${file.hash}; it has been removed`,
      remedy: `Try again. If it stays so, ${settings.endpoint} or a proxy before it gives out other bytes`,
    });
  }
  yield* files.rename(task.partial, blob);
  yield* publish({ _tag: "Finished", stage, metrics: {} });
});

const attempts = 5;

/** Goes on after broken connections until so many attempts in a row have brought nothing. */
const receiveAll = Effect.fnUntraced(function* (
  task: Download,
  stage: string,
): Effect.fn.Return<void, HubError | PlatformError.PlatformError, FileSystem.FileSystem> {
  for (let idle = 0; ; ) {
    const before = yield* sizeOf(task.partial);
    const failure = yield* receive(task, stage).pipe(
      Effect.as(undefined),
      Effect.catchTag("HubError", (error) => Effect.succeed(error)),
    );
    if (failure === undefined) return;
    idle = (yield* sizeOf(task.partial)) > before ? 0 : idle + 1;
    if (failure.reason !== "Unreachable" || idle === attempts) return yield* failure;
    yield* Effect.sleep(100 * 2 ** idle);
  }
});

/** Appends what is missing, as far as the connection lasts. */
const receive = ({ settings, name, commit, file, partial }: Download, stage: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem;
      const where = whereOf(name, file.path);
      yield* files.writeFile(partial, new Uint8Array(), { flag: "a" });
      let size = yield* sizeOf(partial);
      if (size >= file.size) return;
      const handle = yield* files.open(partial, { flag: "r+" });
      yield* handle.seek(BigInt(size), "start");
      const bytes = yield* askBytes(settings, name, commit, file, size);
      let shown = size;
      yield* Stream.runForEach(
        Stream.fromReadableStream({
          evaluate: () => bytes,
          onError: (error) => unreachable(settings, where, error),
        }),
        Effect.fnUntraced(function* (block: Uint8Array) {
          // More than was announced is no file of the Hub: its hash will not match.
          const kept = block.subarray(0, file.size - size);
          yield* handle.writeAll(kept);
          size += kept.length;
          if (size - shown < file.size / 100 && size < file.size) return;
          shown = size;
          const [step, total] = [kilobytes(size), kilobytes(file.size)];
          yield* publish({ _tag: "Step", stage, step, total, metrics: {}, tokens: 0 });
        }),
      );
      if (size < file.size)
        yield* unreachable(settings, where, new Error(`the file ended after ${size} of ${file.size} bytes`));
    }),
  );

const sizeOf = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  return (yield* files.exists(path)) ? Number((yield* files.stat(path)).size) : 0;
});

/** A large file is known by its sha256, a small one by the hash of its object in git. */
const hashOf = Effect.fnUntraced(function* ({ file, partial }: Download) {
  const files = yield* FileSystem.FileSystem;
  // Asked for here, not imported: browsers import this file too.
  const { createHash } = process.getBuiltinModule("node:crypto");
  const hash =
    file.hash.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${file.size}\0`);
  yield* Stream.runForEach(files.stream(partial, { chunkSize: 1 << 20 }), (block) =>
    Effect.sync(() => hash.update(block)),
  );
  return hash.digest("hex");
});

const kilobytes = (bytes: number) => Math.ceil(bytes / 1000);

/** Tells whoever watches; loading a checkpoint needs nobody who does. */
const publish = (event: ProgressEvent) =>
  Effect.flatMap(
    Effect.serviceOption(Progress),
    Option.match({ onNone: () => Effect.void, onSome: (progress) => progress.publish(event) }),
  );
