import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Layer from "effect/Layer";
import * as Path from "effect/Path";
import type * as PlatformError from "effect/PlatformError";
import { CheckpointFailed } from "./errors.ts";
import { makeFolder } from "./make_folder.ts";
import { Progress } from "./progress.ts";
import { RunFolder } from "./run_folder.ts";

/** All that a stage carries from one step to the next. */
export interface Snapshot {
  /** How much of the stage is done. */
  readonly step: number;
  /** What can be written as JSON. */
  readonly values: unknown;
  /** The rest, as bytes by name: weights, moments. */
  readonly arrays: Readonly<Record<string, Uint8Array>>;
}

export interface CheckpointsService {
  /** False where no snapshots are taken: then none need to be made. */
  readonly isKeeping: boolean;
  /** The newest snapshot of a stage that this run, or the run that it goes on from, has taken. */
  readonly load: (stage: string) => Effect.Effect<Snapshot | undefined, CheckpointFailed>;
  /** Takes a snapshot; the highest `score` of a stage is kept beside the newest. */
  readonly save: (stage: string, snapshot: Snapshot, score?: number) => Effect.Effect<void, CheckpointFailed>;
  /** The newest snapshot of the run, in words: where it lies, its stage and step. */
  readonly lastGood: () => string;
  /** Whether so much has been done since the last snapshot that one is worth its while. */
  readonly isDue: () => boolean;
  /** The same for stages of another name: `within("round 2")`. */
  readonly within: (name: string) => CheckpointsService;
}

export interface CheckpointsOptions {
  /** Seconds between two snapshots; 0 takes one after every step. Default 60. */
  readonly everySeconds?: number;
  /** Newest snapshots kept of each stage, besides the best. Default 2. */
  readonly keep?: number;
}

/** What one snapshot is on disk: `manifest.json` beside the arrays, end to end. */
interface Manifest {
  readonly stage: string;
  readonly step: number;
  /** Counts the snapshots of a run, over all stages. */
  readonly sequence: number;
  readonly score?: number;
  readonly values: unknown;
  readonly arrays: ReadonlyArray<{ readonly name: string; readonly bytes: number; readonly sha256: string }>;
  /** The newest snapshot of every stage at that time, by sequence: without them this one is no state of the run. */
  readonly heads: Readonly<Record<string, number>>;
  /** Bytes of the run's logs when it was taken: what comes later will be written again. */
  readonly logs: Readonly<Record<string, number>>;
}

interface Stored {
  readonly path: string;
  readonly manifest: Manifest;
}

/** What may be a snapshot: its manifest may be broken. */
interface Found {
  readonly path: string;
  readonly manifest: Manifest | undefined;
}

const [arraysName, manifestName] = ["arrays.bin", "manifest.json"];
const logNames = ["metrics.jsonl", "samples.jsonl", "warnings.jsonl"];

const off: CheckpointsService = {
  isKeeping: false,
  load: () => Effect.undefined,
  save: () => Effect.void,
  lastGood: () => "none was kept",
  isDue: () => false,
  within: () => off,
};

/**
 * Snapshots of the stages of a run, from which a run that was stopped at any moment goes on, so that it ends as it would
 * have. Without {@link layerCheckpoints} none are taken.
 *
 * A snapshot is written under another name, synced and renamed. What it holds carries checksums: one that is torn or
 * corrupt is found when the run is opened again, and said; the run goes on from the newest before it that is whole.
 */
export const Checkpoints = Context.Reference<CheckpointsService>("@rlhf/core/Checkpoints", {
  defaultValue: () => off,
});

/**
 * Keeps snapshots under `state` in the run folder, and opens those that are there. The run's metrics and samples are cut
 * back to the newest of them, so that every line occurs once.
 */
export const layerCheckpoints = (options: CheckpointsOptions = {}) =>
  Layer.effect(
    Checkpoints,
    Effect.flatMap(RunFolder, (folder) =>
      Effect.mapError(openCheckpoints(options), (error) => failed(folder.file("state"), error, [])),
    ),
  );

const openCheckpoints = Effect.fnUntraced(function* ({ everySeconds = 60, keep = 2 }: CheckpointsOptions) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  const folder = yield* RunFolder;
  const progress = yield* Progress;
  const root = folder.file("state");
  const tell = (message: string) => progress.publish({ _tag: "Note", stage: "checkpoints", message });
  const kept = yield* newestIntact(yield* findManifests(root), (path, problem) =>
    tell(`The checkpoint ${path} ${problem}: the run goes on from the one before`),
  );
  yield* cutLogs(kept.at(-1)?.manifest.logs);
  let all = kept;
  let savedAt = performance.now();

  const load = Effect.fnUntraced(function* (stage: string) {
    const newest = all.findLast(({ manifest }) => manifest.stage === stage);
    if (newest === undefined) return undefined;
    const arrays = yield* readArrays(newest);
    return { step: newest.manifest.step, values: newest.manifest.values, arrays } satisfies Snapshot;
  });

  const save = Effect.fnUntraced(function* (stage: string, snapshot: Snapshot, score?: number) {
    const { step, values } = snapshot;
    const before = all.filter(({ manifest }) => manifest.stage === stage);
    if (before.at(-1)?.manifest.step === step) return;
    const path = paths.join(root, slug(stage), String(step).padStart(9, "0"));
    const partial = `${path}.partial`;
    const sequence = (all.at(-1)?.manifest.sequence ?? 0) + 1;
    const parts = Object.entries(snapshot.arrays);
    const manifest: Manifest = {
      stage,
      step,
      sequence,
      ...(score === undefined ? {} : { score }),
      values,
      arrays: yield* Effect.promise(() =>
        Promise.all(
          parts.map(async ([name, bytes]) => ({ name, bytes: bytes.length, sha256: await sha256(bytes) })),
        ),
      ),
      heads: { ...headsOf(all), [stage]: sequence },
      logs: yield* syncLogs,
    };
    const content = JSON.stringify(manifest);
    const checksum = yield* Effect.promise(() => sha256(new TextEncoder().encode(content)));
    yield* makeFolder(partial);
    yield* writeSynced(
      paths.join(partial, arraysName),
      parts.map(([, bytes]) => bytes),
    );
    yield* writeSynced(paths.join(partial, manifestName), [
      new TextEncoder().encode(`{"checksum":"${checksum}","content":${content}}\n`),
    ]);
    yield* syncFolder(partial);
    yield* files.rename(partial, path);
    yield* syncFolder(paths.dirname(path));
    all = [...all, { path, manifest }];
    yield* prune(stage);
    savedAt = performance.now();
  });

  /** The newest of a stage stay, and the one with the best score. */
  const prune = Effect.fnUntraced(function* (stage: string) {
    const own = all.filter(({ manifest }) => manifest.stage === stage);
    const scored = own.filter(({ manifest }) => manifest.score !== undefined);
    const best = scored.toSorted((a, b) => b.manifest.score! - a.manifest.score!)[0];
    for (const stored of own.slice(0, -keep)) {
      if (stored === best) continue;
      all = all.filter((other) => other !== stored);
      yield* files.remove(stored.path, { recursive: true, force: true });
    }
  });

  const service = (prefix: string): CheckpointsService => ({
    isKeeping: true,
    load: (stage) => Effect.mapError(load(prefix + stage), (error) => failed(root, error, all)),
    save: (stage, snapshot, score) =>
      save(prefix + stage, snapshot, score).pipe(
        Effect.provideService(FileSystem.FileSystem, files),
        Effect.provideService(Path.Path, paths),
        Effect.mapError((error) => failed(root, error, all)),
        Effect.tapError(({ message }) => tell(message)), // nobody hears of it otherwise when a run is being stopped
        Effect.uninterruptible,
      ),
    lastGood: () => describeNewest(all),
    isDue: () => performance.now() - savedAt >= 1000 * everySeconds,
    within: (name) => service(`${prefix}${name}, `),
  });

  const readArrays = Effect.fnUntraced(function* ({ path, manifest }: Stored) {
    const bytes = yield* files.readFile(paths.join(path, arraysName));
    let at = 0;
    return Object.fromEntries(
      manifest.arrays.map((array) => [array.name, bytes.subarray(at, (at += array.bytes))]),
    );
  });

  const syncLogs = Effect.gen(function* () {
    const sizes: Record<string, number> = {};
    for (const name of logNames) {
      const file = folder.file(name);
      if (!(yield* files.exists(file))) continue;
      yield* Effect.scoped(Effect.flatMap(files.open(file, { flag: "r+" }), (open) => open.sync));
      sizes[name] = Number((yield* files.stat(file)).size);
    }
    return sizes;
  });

  return service("");
});

/** All snapshots whose manifest can be read or not, oldest first; what was never finished is removed. */
const findManifests = Effect.fnUntraced(function* (root: string) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  if (!(yield* files.exists(root))) return [];
  const found: Array<Found> = [];
  for (const stage of yield* files.readDirectory(root)) {
    for (const name of yield* files.readDirectory(paths.join(root, stage))) {
      const path = paths.join(root, stage, name);
      if (name.endsWith(".partial")) yield* files.remove(path, { recursive: true });
      else found.push({ path, manifest: yield* readManifest(path) });
    }
  }
  const order = (manifest: Manifest | undefined) => manifest?.sequence ?? Number.POSITIVE_INFINITY;
  return found.sort((a, b) => order(a.manifest) - order(b.manifest));
});

const readManifest = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  const text = (yield* unlessForbidden(files.readFileString(paths.join(path, manifestName)))) ?? "";
  const [, checksum, content] = /^\{"checksum":"([0-9a-f]{64})","content":(.*)\}\n$/s.exec(text) ?? [];
  if (checksum === undefined || content === undefined) return undefined;
  const actual = yield* Effect.promise(() => sha256(new TextEncoder().encode(content)));
  return actual === checksum ? (JSON.parse(content) as Manifest) : undefined;
});

/** Nothing where there is nothing to read. What must not be read may be whole: that fails. */
const unlessForbidden = <A>(read: Effect.Effect<A, PlatformError.PlatformError>) =>
  Effect.catch(read, (error) =>
    error.reason._tag === "PermissionDenied" ? Effect.fail(error) : Effect.undefined,
  );

/** The snapshots up to the newest that is whole, with the newest of every stage at its time; later ones are removed. */
const newestIntact = Effect.fnUntraced(function* (
  found: ReadonlyArray<Found>,
  tell: (path: string, problem: string) => Effect.Effect<void>,
) {
  const files = yield* FileSystem.FileSystem;
  const left = [...found];
  for (let newest = left.at(-1); newest !== undefined; newest = left.at(-1)) {
    const problem = yield* problemWith(newest, left);
    if (problem === undefined) break;
    yield* tell(newest.path, problem);
    yield* files.remove(newest.path, { recursive: true, force: true });
    left.pop();
  }
  return left.flatMap(({ path, manifest }): ReadonlyArray<Stored> => {
    return manifest === undefined ? [] : [{ path, manifest }];
  });
});

const problemWith = Effect.fnUntraced(function* ({ manifest }: Found, all: ReadonlyArray<Found>) {
  if (manifest === undefined) return "has a broken manifest";
  for (const [stage, sequence] of Object.entries(manifest.heads)) {
    const head = all.find((other) => other.manifest?.sequence === sequence);
    const problem =
      head?.manifest === undefined ? "is missing" : yield* problemOf({ ...head, manifest: head.manifest });
    if (problem === undefined) continue;
    return sequence === manifest.sequence ? problem : `builds on one of ${stage} that ${problem}`;
  }
  return undefined;
});

const problemOf = Effect.fnUntraced(function* ({ path, manifest }: Stored) {
  const files = yield* FileSystem.FileSystem;
  const paths = yield* Path.Path;
  const bytes = yield* unlessForbidden(files.readFile(paths.join(path, arraysName)));
  if (bytes === undefined) return `has lost ${arraysName}`;
  let at = 0;
  for (const { name, bytes: size, sha256: expected } of manifest.arrays) {
    const part = bytes.subarray(at, (at += size));
    const actual = yield* Effect.promise(() => sha256(part));
    if (actual !== expected) return `is corrupt: the checksum of ${name} does not match`;
  }
  return at === bytes.length ? undefined : `is corrupt: ${arraysName} has another length`;
});

/** Cuts the logs back to what they were, or to nothing. */
const cutLogs = Effect.fnUntraced(function* (sizes: Readonly<Record<string, number>> = {}) {
  const files = yield* FileSystem.FileSystem;
  const folder = yield* RunFolder;
  for (const name of logNames) {
    const file = folder.file(name);
    if (yield* files.exists(file)) yield* files.truncate(file, sizes[name] ?? 0);
  }
});

const writeSynced = (path: string, parts: ReadonlyArray<Uint8Array>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem;
      const file = yield* files.open(path, { flag: "w" });
      for (const part of parts) if (part.length > 0) yield* file.writeAll(part);
      yield* file.sync;
    }),
  );

/** Makes a rename last; some systems cannot, and do without. */
const syncFolder = (path: string) =>
  Effect.ignore(
    Effect.scoped(
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem;
        const folder = yield* files.open(path, { flag: "r" });
        yield* folder.sync;
      }),
    ),
  );

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function headsOf(all: ReadonlyArray<Stored>): Record<string, number> {
  return Object.fromEntries(all.map(({ manifest }) => [manifest.stage, manifest.sequence]));
}

function slug(stage: string): string {
  return stage.replace(/[^\w.-]+/g, "-");
}

function describeNewest(all: ReadonlyArray<Stored>): string {
  const newest = all.at(-1);
  return newest === undefined
    ? "none yet"
    : `${newest.path}, ${newest.manifest.stage} step ${newest.manifest.step}`;
}

function failed(
  path: string,
  error: PlatformError.PlatformError,
  all: ReadonlyArray<Stored>,
): CheckpointFailed {
  return new CheckpointFailed({ path, problem: error.message, lastGood: describeNewest(all) });
}
