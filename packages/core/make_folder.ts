import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";

/**
 * Makes a folder and those above it, where they are not there. Node's recursive `mkdir` never ends below a folder that
 * takes none, such as /proc.
 */
export const makeFolder: (
  folder: string,
) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> = Effect.fnUntraced(
  function* (folder) {
    const files = yield* FileSystem.FileSystem;
    const paths = yield* Path.Path;
    if (yield* files.exists(folder)) return;
    const parent = paths.dirname(folder);
    if (parent !== folder) yield* makeFolder(parent);
    yield* Effect.catchIf(
      files.makeDirectory(folder),
      ({ reason }) => reason._tag === "AlreadyExists", // another process was faster
      () => Effect.void,
    );
  },
);
