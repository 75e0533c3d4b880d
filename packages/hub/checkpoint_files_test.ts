import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import * as ConfigProvider from "effect/ConfigProvider";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkpointFiles } from "./checkpoint_files.ts";
import { firstCommit, gitHash, type LocalHub, sha256, startLocalHub } from "./testing/local_hub.ts";

const config = '{"model_type": "gpt2"}\n';
const weights = Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) % 251);
const wrong = weights.map((byte) => byte ^ 1);

let home = "";
let hub: LocalHub;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "hub-"));
  hub = await startLocalHub({
    "someone/tiny": {
      files: { "config.json": config, "model.safetensors": weights, "README.md": "# tiny", "empty.txt": "" },
      revisions: { main: firstCommit, "v1.0": "2".repeat(40), "refs/pr/1": "3".repeat(40) },
    },
    "someone/private": { files: { "config.json": config }, token: "hf_secret" },
    "someone/gated": { files: {}, gated: true },
  });
});
afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true });
});

type Files = Effect.Services<ReturnType<typeof checkpointFiles>>;

const within = <A, E>(effect: Effect.Effect<A, E, Files>, environment: Record<string, string> = {}) =>
  effect.pipe(
    Effect.provideService(
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown({ HF_HOME: home, HF_ENDPOINT: hub.url, ...environment }),
    ),
    Effect.provide(NodeServices.layer),
  );
const get = (place: string, names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const found = yield* checkpointFiles(place);
    yield* found.fetch(names);
    return found.folder;
  });
const run = <A, E>(effect: Effect.Effect<A, E, Files>, environment?: Record<string, string>) =>
  Effect.runPromise(within(effect, environment));
const failure = <A, E>(effect: Effect.Effect<A, E, Files>, environment?: Record<string, string>) =>
  run(Effect.flip(effect), environment);
const storage = () => join(home, "hub", "models--someone--tiny");

it("lays the cache out as huggingface_hub does, and fetches only what is asked for", async () => {
  const folder = await run(
    get("someone/tiny", ["config.json", "model.safetensors", "generation_config.json"]),
  );
  expect(folder).toBe(join(storage(), "snapshots", firstCommit));
  expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors"]);
  expect(await readFile(join(folder, "config.json"), "utf8")).toBe(config);
  expect(new Uint8Array(await readFile(join(folder, "model.safetensors")))).toEqual(weights);
  expect(await readlink(join(folder, "model.safetensors"))).toBe(`../../blobs/${sha256(weights)}`);
  const blobs = [gitHash(Buffer.from(config)), sha256(weights)].sort();
  expect((await readdir(join(storage(), "blobs"))).sort()).toEqual(blobs);
  expect(await readFile(join(storage(), "refs", "main"), "utf8")).toBe(firstCommit);
  expect(await readdir(join(storage(), ".no_exist", firstCommit))).toEqual(["generation_config.json"]);
  expect(hub.requests.filter((path) => path.includes("README"))).toEqual([]);
});

it("asks again only where a branch is, and of a commit nothing", async () => {
  const names = ["config.json", "generation_config.json"];
  await run(get("someone/tiny", names));
  hub.requests.length = 0;
  await run(get("someone/tiny", names));
  expect(hub.requests).toEqual(["/api/models/someone/tiny/revision/main"]);
  hub.requests.length = 0;
  await run(get(`someone/tiny@${firstCommit}`, names));
  expect(hub.requests).toEqual([]);
});

it("pins branches, tags and commits", async () => {
  for (const [revision, commit] of [
    ["v1.0", "2".repeat(40)],
    ["refs/pr/1", "3".repeat(40)],
    ["2".repeat(40), "2".repeat(40)],
  ]) {
    const folder = await run(get(`someone/tiny@${revision}`, ["config.json"]));
    expect(folder).toBe(join(storage(), "snapshots", commit!));
  }
  expect(await readFile(join(storage(), "refs", "refs", "pr", "1"), "utf8")).toBe("3".repeat(40));
  // The same bytes are in the cache once.
  expect(await readdir(join(storage(), "blobs"))).toEqual([gitHash(Buffer.from(config))]);
});

it("lists all files, and fetches empty ones", async () => {
  const found = await run(checkpointFiles("someone/tiny"));
  expect(await run(found.list)).toEqual(["config.json", "model.safetensors", "README.md", "empty.txt"]);
  const folder = await run(get("someone/tiny", ["empty.txt"]));
  expect((await stat(join(folder, "empty.txt"))).size).toBe(0);
});

it("goes on after broken connections where they broke", async () => {
  hub.faults.push({ breakAfter: 20_000 }, { breakAfter: 0 }, { breakAfter: 10_000 });
  const folder = await run(get("someone/tiny", ["model.safetensors"]));
  expect(new Uint8Array(await readFile(join(folder, "model.safetensors")))).toEqual(weights);
  const ranges = hub.requests.filter((path) => /^\/stored\/.* bytes=[1-9]/.test(path));
  expect(ranges.map((path) => path.split(" ")[1])).toEqual([
    "bytes=20000-49999",
    "bytes=20000-49999",
    "bytes=30000-49999",
  ]);
});

it("gives up when nothing more comes, and a later run goes on with what there is", async () => {
  hub.faults.push({ breakAfter: 20_000 }, ...Array.from({ length: 5 }, () => ({ breakAfter: 0 })));
  const error = await failure(get("someone/tiny", ["model.safetensors"]));
  expect(error).toMatchObject({ _tag: "HubError", reason: "Unreachable" });
  expect(error.message).toContain("someone/tiny@main: model.safetensors");
  const partial = join(storage(), "blobs", `${sha256(weights)}.incomplete`);
  expect((await stat(partial)).size).toBe(20_000);
  hub.requests.length = 0;
  await run(get("someone/tiny", ["model.safetensors"]));
  expect(hub.requests.at(-1)).toMatch(/ bytes=20000-49999$/);
  expect(await readdir(join(storage(), "blobs"))).toEqual([sha256(weights)]);
});

it("refuses bytes with another hash, and keeps none of them", async () => {
  hub.faults.push({ send: wrong });
  const error = await failure(get("someone/tiny", ["model.safetensors"]));
  expect(error).toMatchObject({ reason: "Corrupt" });
  expect(error.message).toContain(`its hash is ${sha256(wrong)}, and must be ${sha256(weights)}`);
  expect(await readdir(join(storage(), "blobs"))).toEqual([]);
  hub.faults.push({ send: new TextEncoder().encode(config.replace("2", "3")) });
  expect(await failure(get("someone/tiny", ["config.json"]))).toMatchObject({ reason: "Corrupt" });
});

it("fetches anew what was resumed onto wrong bytes", async () => {
  await mkdir(join(storage(), "blobs"), { recursive: true });
  const partial = join(storage(), "blobs", `${sha256(weights)}.incomplete`);
  await writeFile(partial, wrong.subarray(0, 10_000));
  await run(get("someone/tiny", ["model.safetensors"]));
  await rm(storage(), { recursive: true });
  await mkdir(join(storage(), "blobs"), { recursive: true });
  await writeFile(partial, new Uint8Array(60_000));
  const folder = await run(get("someone/tiny", ["model.safetensors"]));
  expect(new Uint8Array(await readFile(join(folder, "model.safetensors")))).toEqual(weights);
});

it("lets two fetch the same file at once", async () => {
  hub.faults.push({ breakAfter: 20_000 }, { breakAfter: 10_000 });
  const both = Effect.all(
    [get("someone/tiny", ["model.safetensors"]), get("someone/tiny", ["model.safetensors"])],
    {
      concurrency: 2,
    },
  );
  const [folder] = await run(both);
  expect(new Uint8Array(await readFile(join(folder, "model.safetensors")))).toEqual(weights);
});

it("says why the Hub refuses", async () => {
  const missing = await failure(get("someone/nothing", []));
  expect(missing).toMatchObject({ reason: "Refused" });
  expect(missing.message).toContain("no such repository, or it is private");
  expect(missing.message).toContain("Set HF_TOKEN");
  const gated = await failure(get("someone/gated", []));
  expect(gated.message).toContain(`Accept them at ${hub.url}/someone/gated`);
  const revision = await failure(get("someone/tiny@v9", []));
  expect(revision).toMatchObject({ reason: "NotFound" });
  expect(revision.message).toContain("someone/tiny@v9: the repository has no such branch, tag or commit");
  const commit = await failure(get(`someone/tiny@${"9".repeat(40)}`, ["config.json"]));
  expect(commit).toMatchObject({ reason: "NotFound" });
});

it("shows its token to the Hub", async () => {
  expect(await failure(get("someone/private", []))).toMatchObject({ reason: "Refused" });
  await run(get("someone/private", ["config.json"]), { HF_TOKEN: "hf_secret" });
  await rm(join(home, "hub"), { recursive: true });
  await writeFile(join(home, "token"), "hf_secret\n");
  await run(get("someone/private", ["config.json"]));
});

it("works from the cache alone when told to, or when the Hub is away", async () => {
  const offline = { HF_HUB_OFFLINE: "1" };
  const uncached = await failure(get("someone/tiny", []), offline);
  expect(uncached).toMatchObject({ reason: "Offline" });
  const folder = await run(get("someone/tiny", ["config.json"]));
  hub.requests.length = 0;
  expect(await run(get("someone/tiny", ["config.json"]), offline)).toBe(folder);
  expect(await failure(get("someone/tiny@v1.0", []), offline)).toMatchObject({ reason: "Offline" });
  expect(hub.requests).toEqual([]);
  await hub.close();
  expect(await run(get("someone/tiny", ["config.json"]))).toBe(folder);
  expect(await failure(get("someone/tiny", ["model.safetensors"]))).toMatchObject({ reason: "Unreachable" });
});

it("takes what huggingface_hub has put there, and the cache where the environment says", async () => {
  const cache = join(home, "elsewhere");
  const other = join(cache, "models--someone--tiny");
  await mkdir(join(other, "snapshots", firstCommit), { recursive: true });
  await mkdir(join(other, "refs"));
  await writeFile(join(other, "refs", "main"), firstCommit);
  await writeFile(join(other, "snapshots", firstCommit, "config.json"), config);
  const folder = await run(get("someone/tiny", ["config.json"]), {
    HF_HUB_CACHE: cache,
    HF_HUB_OFFLINE: "1",
  });
  expect(folder).toBe(join(other, "snapshots", firstCommit));
});

it("does without links where they are not allowed", async () => {
  const fetched = Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem;
    const symlink = () => files.readFileString(join(home, "not there")).pipe(Effect.asVoid);
    return yield* Effect.provideService(get("someone/tiny", ["config.json"]), FileSystem.FileSystem, {
      ...files,
      symlink,
    });
  });
  const folder = await run(fetched);
  expect((await lstat(join(folder, "config.json"))).isFile()).toBe(true);
});

it("believes no hash that leads out of the cache", async () => {
  const bent = await startLocalHub({
    "someone/bent": { files: {}, revisions: { main: "../../../outside" } },
  });
  try {
    const error = await failure(get("someone/bent", []), { HF_ENDPOINT: bent.url });
    expect(error).toMatchObject({ reason: "Corrupt" });
  } finally {
    await bent.close();
  }
});

it("takes a folder as it is, also one whose path could be a name", async () => {
  const folder = join(home, "someone");
  await mkdir(join(folder, "tiny"), { recursive: true });
  expect(await run(get(folder, ["config.json"]))).toBe(folder);
  const before = process.cwd();
  process.chdir(home);
  try {
    expect(await run(get("someone/tiny", ["config.json"]))).toBe("someone/tiny");
  } finally {
    process.chdir(before);
  }
  expect(hub.requests).toEqual([]);
});

it("publishes how far a download is", async () => {
  const watched = Effect.gen(function* () {
    yield* get("someone/tiny", ["model.safetensors"]);
    const { events } = yield* Progress;
    return yield* Stream.runCollect(
      Stream.takeUntil(events, (event: ProgressEvent) => event._tag === "Finished"),
    );
  });
  const events = await run(Effect.scoped(Effect.provide(watched, Progress.layer)));
  const stage = "fetch someone/tiny: model.safetensors";
  expect(events[0]).toEqual({ _tag: "Started", stage, total: 50, unit: "kB" });
  expect(events.at(-2)).toMatchObject({ _tag: "Step", stage, step: 50, total: 50 });
});
