import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import type * as PlatformError from "effect/PlatformError";
import type * as Scope from "effect/Scope";
import { RunInUse } from "./errors.ts";

/**
 * Holds a lock file, which says which process holds it, until the scope ends. That of a process that has died, killed
 * before it could let go, is taken over.
 */
export const holdLock = Effect.fnUntraced(function* (
  folder: string,
  lock: string,
): Effect.fn.Return<void, RunInUse | PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> {
  const files = yield* FileSystem.FileSystem;
  const own = `${process.pid} ${crypto.randomUUID()}\n`;
  const create = files.writeFileString(lock, own, { flag: "wx" });
  const take = Effect.catch(create, (error) =>
    Effect.gen(function* () {
      if (error.reason._tag !== "AlreadyExists") return yield* error;
      const holder = Number.parseInt(yield* files.readFileString(lock), 10);
      if (isAlive(holder)) return yield* new RunInUse({ path: folder, process: `process ${holder}` });
      yield* files.remove(lock, { force: true });
      yield* create;
    }),
  );
  const letGo = Effect.gen(function* () {
    // Whoever took the folder over keeps it.
    if ((yield* files.readFileString(lock)) === own) yield* files.remove(lock);
  });
  yield* Effect.acquireRelease(take, () => Effect.ignore(letGo));
});

/** Signal 0 asks whether a process is there; one of another user is there, but must not be asked. */
function isAlive(id: number): boolean {
  if (!Number.isInteger(id)) return false;
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as { readonly code?: string }).code === "EPERM";
  }
}
