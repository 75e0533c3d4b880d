import { makeFolder } from "@rlhf/core/make_folder";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";
import { askCommit, askFiles, type HubFile, whereOf } from "./_client.ts";
import { download } from "./_download.ts";
import { HubError } from "./hub_error.ts";
import { type HubName, isCommit, parseHubName } from "./hub_name.ts";
import { type HubSettings, hubSettings } from "./settings.ts";

type FileEffect<A> = Effect.Effect<
  A,
  HubError | PlatformError.PlatformError,
  FileSystem.FileSystem | Path.Path
>;

/** The files of a checkpoint, wherever it is. */
export interface CheckpointFiles {
  /** Where they are read: a folder of its own, or a snapshot in the Hub's cache. */
  readonly folder: string;
  /** Sees to it that those of the files are in the folder that the checkpoint has. */
  readonly fetch: (names: ReadonlyArray<string>) => FileEffect<void>;
  /** The names of all files of the checkpoint, fetched or not. */
  readonly list: FileEffect<ReadonlyArray<string>>;
}

/**
 * The files of a checkpoint in a folder, or of one on the Hugging Face Hub: `owner/name` or `owner/name@revision`, where
 * the revision is a branch, a tag or a commit. A folder of that name is preferred.
 *
 * What is fetched from the Hub goes into the cache that Python's `huggingface_hub` uses, in its layout: `blobs` named by
 * their hashes, `snapshots` that link to them, `refs`. A file that is there is not fetched again; of a commit nothing is
 * asked twice. When the Hub cannot be reached, the snapshot that a branch or tag was last seen at is used.
 *
 * Where somebody watches `Progress`, downloads are published there. Fails with `HubError`.
 */
export const checkpointFiles = Effect.fn("hub.checkpointFiles")(function* (
  place: string,
): Effect.fn.Return<
  CheckpointFiles,
  HubError | PlatformError.PlatformError,
  FileSystem.FileSystem | Path.Path
> {
  const files = yield* FileSystem.FileSystem;
  const name = parseHubName(place);
  if (name !== undefined && !(yield* files.exists(place))) return yield* onHub(name);
  return { folder: place, fetch: () => Effect.void, list: files.readDirectory(place) };
});

const onHub = Effect.fnUntraced(function* (name: HubName) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const settings = yield* hubSettings;
  const storage = path.join(settings.cache, `models--${name.repository.replace("/", "--")}`);
  const commit = yield* commitOf(settings, name, storage);
  const folder = path.join(storage, "snapshots", commit);
  if (settings.offline) {
    if (!(yield* files.exists(folder))) return yield* notCached(settings, name);
    return { folder, fetch: () => Effect.void, list: files.readDirectory(folder) };
  }

  const onceListed = yield* Effect.cached(askFiles(settings, name, commit));
  const absentMark = (file: string) => path.join(storage, ".no_exist", commit, file);
  const fetchOne = Effect.fnUntraced(function* (file: string) {
    if ((yield* files.exists(path.join(folder, file))) || (yield* files.exists(absentMark(file)))) return;
    const found = (yield* onceListed).get(file);
    if (found !== undefined) return yield* fetchInto({ settings, name, storage, commit }, found);
    yield* makeFolder(path.dirname(absentMark(file)));
    yield* files.writeFileString(absentMark(file), "");
  });
  return {
    folder,
    fetch: (names: ReadonlyArray<string>) => Effect.forEach(names, fetchOne, { discard: true }),
    list: Effect.map(onceListed, (listed) => [...listed.keys()]),
  };
});

/** Asks the Hub where a branch or tag is, and notes it; without the Hub it is where it was last seen. */
const commitOf = Effect.fnUntraced(function* (settings: HubSettings, name: HubName, storage: string) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  if (isCommit(name.revision)) return name.revision;
  const ref = path.join(storage, "refs", name.revision);
  const lastSeen = Effect.map(files.readFileString(ref), (text) => text.trim());
  if (settings.offline) return yield* Effect.mapError(lastSeen, () => notCached(settings, name));
  const asked = Effect.gen(function* () {
    const commit = yield* askCommit(settings, name);
    yield* makeFolder(path.dirname(ref));
    // Whoever reads it meanwhile finds a whole commit.
    const whole = `${ref}.${crypto.randomUUID()}.tmp`;
    yield* files.writeFileString(whole, commit);
    yield* files.rename(whole, ref);
    return commit;
  });
  return yield* Effect.catchTag(asked, "HubError", (error) =>
    error.reason === "Unreachable" ? Effect.mapError(lastSeen, () => error) : Effect.fail(error),
  );
});

/** Puts a file into the cache and links the snapshot to it. */
const fetchInto = Effect.fnUntraced(function* (
  at: {
    readonly settings: HubSettings;
    readonly name: HubName;
    readonly storage: string;
    readonly commit: string;
  },
  file: HubFile,
) {
  const files = yield* FileSystem.FileSystem;
  const path = yield* Path.Path;
  const blob = path.join(at.storage, "blobs", file.hash);
  const link = path.join(at.storage, "snapshots", at.commit, file.path);
  yield* makeFolder(path.dirname(blob));
  yield* makeFolder(path.dirname(link));
  const orElseThere = (there: string) => (error: PlatformError.PlatformError) =>
    Effect.flatMap(files.exists(there), (found) => (found ? Effect.void : Effect.fail(error)));
  if (!(yield* files.exists(blob))) {
    yield* download(at.settings, at.name, at.commit, file, blob).pipe(
      // Another process may have fetched the same bytes and moved them there.
      Effect.catchTag("PlatformError", orElseThere(blob)),
    );
  }
  yield* files.symlink(path.relative(path.dirname(link), blob), link).pipe(
    Effect.catch(orElseThere(link)),
    // Where links are not allowed, as on Windows, the file itself moves.
    Effect.catch(() => files.rename(blob, link)),
  );
});

function notCached({ cache }: HubSettings, name: HubName): HubError {
  return new HubError({
    where: whereOf(name),
    reason: "Offline",
    problem: `it is not in ${cache}, and HF_HUB_OFFLINE forbids asking the Hub`,
    remedy: "Unset HF_HUB_OFFLINE, or copy the cache of a machine that has it",
  });
}
