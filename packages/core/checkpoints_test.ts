import { appendFile, cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Layer from "effect/Layer";
import type * as Path from "effect/Path";
import * as PlatformError from "effect/PlatformError";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Checkpoints, layerCheckpoints } from "./checkpoints.ts";
import { checkConfigChange } from "./config_change.ts";
import type { CheckpointFailed } from "./errors.ts";
import { Progress } from "./progress.ts";
import { rememberedParts } from "./remembered_parts.ts";
import { requireFinite } from "./require_finite.ts";
import { RunFolder } from "./run_folder.ts";

let folder = "";
let notes: Array<string> = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-checkpoints-"));
  notes = [];
});
afterEach(() => rm(folder, { recursive: true }));

const system = Layer.merge(NodeFileSystem.layer, NodePath.layer);
const progress = Layer.succeed(Progress, {
  publish: (event) => Effect.sync(() => void (event._tag === "Note" && notes.push(event.message))),
  events: Stream.empty,
});

/** One process's share of a run. */
const open = <A, E>(
  effect: Effect.Effect<A, E, RunFolder | FileSystem.FileSystem | Path.Path>,
  files: Layer.Layer<FileSystem.FileSystem | Path.Path> = system,
) =>
  Effect.runPromise(
    effect.pipe(
      Effect.provide(layerCheckpoints({ everySeconds: 0 })),
      Effect.provide(Layer.merge(RunFolder.layer(folder), progress)),
      Effect.provide(files),
    ),
  );

const snapshot = (step: number, byte = step) => ({
  step,
  values: { loss: step },
  arrays: { a: new Uint8Array(1000).fill(byte), b: new Uint8Array(3).fill(byte + 1) },
});
const save = (stage: string, step: number, score?: number) =>
  Effect.gen(function* () {
    const checkpoints = yield* Checkpoints;
    const run = yield* RunFolder;
    yield* run.appendMetrics(stage, step, { loss: step });
    yield* checkpoints.save(stage, snapshot(step), score);
  });
const load = (stage: string) => Effect.flatMap(Checkpoints, (checkpoints) => checkpoints.load(stage));
const metrics = async () => (await readFile(join(folder, "metrics.jsonl"), "utf8")).trim().split("\n");
const stored = (stage: string) => readdir(join(folder, "state", stage));

describe("checkpoints", () => {
  it("give back the newest snapshot, and keep the newest two and the best", async () => {
    await open(
      Effect.all([save("a", 1, 0.5), save("a", 2, 0.9), save("a", 3, 0.1), save("a", 4, 0.2), save("b", 7)]),
    );
    expect(await stored("a")).toEqual(["000000002", "000000003", "000000004"]);
    const [a, b, c] = await open(Effect.all([load("a"), load("b"), load("c")]));
    expect(a).toMatchObject({ step: 4, values: { loss: 4 } });
    expect(Array.from(a!.arrays.b!)).toEqual([5, 5, 5]);
    expect(b!.step).toBe(7);
    expect(c).toBeUndefined();
  });

  it("cut the logs back to the newest snapshot", async () => {
    await open(Effect.all([save("a", 1), save("a", 2)]));
    const whole = await metrics();
    await appendFile(join(folder, "metrics.jsonl"), '{"stage":"a","step":3,"loss":3}\n{"stage":"a","st');
    await writeFile(join(folder, "samples.jsonl"), "{}\n");
    await open(Effect.void);
    expect(await metrics()).toEqual(whole);
    expect(await readFile(join(folder, "samples.jsonl"), "utf8")).toBe("");
  });

  it.each<[string, (path: string) => Promise<void>, string]>([
    [
      "torn arrays",
      (path) => truncate(join(path, "arrays.bin"), 500),
      "is corrupt: the checksum of a does not match",
    ],
    [
      "a flipped bit",
      (path) => writeFile(join(path, "arrays.bin"), new Uint8Array(1003).fill(9)),
      "is corrupt: the checksum of a",
    ],
    ["a torn manifest", (path) => truncate(join(path, "manifest.json"), 40), "has a broken manifest"],
    ["a deleted file", (path) => rm(join(path, "arrays.bin")), "has lost arrays.bin"],
  ])("with %s are left out: the run goes on from the one before, and says so", async (_, damage, note) => {
    await open(Effect.all([save("a", 1), save("a", 2), save("a", 3)]));
    await damage(join(folder, "state/a/000000003"));
    const found = await open(load("a"));
    expect(found).toMatchObject({ step: 2 });
    expect(notes).toEqual([expect.stringContaining(note)]);
    expect((await metrics()).length).toBe(2);
    expect(await open(load("a"))).toMatchObject({ step: 2 });
  });

  it("drop what came after a corrupt one: it will be done again", async () => {
    await open(Effect.all([save("a", 1), save("a", 2), save("b", 1)]));
    await rm(join(folder, "state/a/000000002/arrays.bin"));
    expect(await open(Effect.all([load("a"), load("b")]))).toMatchObject([{ step: 1 }, undefined]);
    expect((await metrics()).length).toBe(1);
  });

  it.each([
    ["a folder", "state/a/000000002"],
    ["a manifest", "state/a/000000002/manifest.json"],
  ])("drop what came after one that has lost %s", async (_, name) => {
    await open(Effect.all([save("a", 1), save("a", 2), save("b", 1)]));
    await rm(join(folder, name), { recursive: true });
    expect(await open(Effect.all([load("a"), load("b")]))).toMatchObject([{ step: 1 }, undefined]);
    expect(notes[notes.length > 1 ? 1 : 0]).toContain("builds on one of a that is missing");
    expect((await metrics()).length).toBe(1);
  });

  it("that were being written when the process died are none", async () => {
    await open(save("a", 1));
    const [whole, partial] = ["000000001", "000000002.partial"].map((name) => join(folder, "state/a", name));
    await cp(whole!, partial!, { recursive: true });
    expect(await open(load("a"))).toMatchObject({ step: 1 });
    expect(await stored("a")).toEqual(["000000001"]);
  });

  it("keep names apart within a round", async () => {
    const second = Effect.map(Checkpoints, (checkpoints) => checkpoints.within("round 2"));
    await open(Effect.flatMap(second, ({ save }) => save("a", snapshot(5))));
    expect(await open(load("a"))).toBeUndefined();
    expect(await open(Effect.flatMap(second, ({ load }) => load("a")))).toMatchObject({ step: 5 });
  });

  it.each(["BadResource", "PermissionDenied"] as const)(
    "that cannot be written (%s) fail clearly, the last good one intact",
    async (reason) => {
      await open(Effect.all([save("a", 1), save("a", 2)]));
      const error: CheckpointFailed = await open(Effect.flip(save("a", 3)) as never, failing(reason));
      expect(error._tag).toBe("CheckpointFailed");
      expect(error.message).toContain("The last good checkpoint is intact:");
      expect(error.message).toContain("a step 2");
      expect(await open(load("a"))).toMatchObject({ step: 2 });
    },
  );

  it("are named when a number is not finite: from there the run can go on", async () => {
    const diverged = requireFinite({ stage: "b", step: 9 }, { loss: 1, gradNorm: Number.NaN });
    const error = await open(Effect.andThen(save("a", 2), Effect.flip(diverged)) as never);
    expect(error).toMatchObject({ _tag: "NonFiniteLoss", stage: "b", step: 9, metric: "gradNorm" });
    expect((error as Error).message).toContain(join(folder, "state/a/000000002, a step 2"));
    const alone = await Effect.runPromise(Effect.flip(diverged));
    expect(alone.message).toContain("The last good checkpoint: none was kept");
  });

  it("that must not be read are not taken for broken: the run does not start, and they stay", async () => {
    await open(Effect.all([save("a", 1), save("a", 2)]));
    const error = await open(load("a"), failing("PermissionDenied", "manifest.json")).then(String, String);
    expect(error).toContain(`The checkpoints in ${join(folder, "state")} cannot be used`);
    expect(await stored("a")).toEqual(["000000001", "000000002"]);
    expect(await open(load("a"))).toMatchObject({ step: 2 });
  });

  it("cannot lie where a file is in the way", async () => {
    await writeFile(join(folder, "state"), "");
    const error = await open(load("a")).then(String, String);
    expect(error).toContain("cannot be used");
    expect(error).toContain("mend the permissions");
  });

  it("are off unless they are provided", async () => {
    const effect = Effect.gen(function* () {
      const checkpoints = yield* Checkpoints;
      yield* checkpoints.save("a", snapshot(1));
      return yield* checkpoints.load("a");
    });
    expect(await Effect.runPromise(effect)).toBeUndefined();
  });
});

describe("rememberedParts", () => {
  it("does only the rest when it is called again", async () => {
    const items = Array.from({ length: 10 }, (_, i) => i);
    const collect = (failAt: number) => {
      const seen: Array<number> = [];
      const run = (part: ReadonlyArray<number>, first: number) => {
        seen.push(first);
        return first >= failAt ? Effect.fail("killed") : Effect.succeed(part.map((item) => item * item));
      };
      return { seen, collected: rememberedParts({ stage: "squares", items, size: 3, run }) };
    };
    expect(await open(Effect.flip(collect(6).collected))).toBe("killed");
    const rest = collect(99);
    expect(await open(rest.collected)).toEqual(items.map((item) => item * item));
    expect(rest.seen).toEqual([6, 9]);
    const again = collect(0);
    expect(await open(again.collected)).toEqual(items.map((item) => item * item));
    expect(again.seen).toEqual([]);
  });
});

describe("a run folder", () => {
  it("is refused to a second process and taken over from a dead one", async () => {
    const run = (effect: Effect.Effect<unknown>) =>
      Effect.runPromise(effect.pipe(Effect.provide(RunFolder.layer(folder)), Effect.provide(system)));
    const inside = Effect.promise(() => run(Effect.void).then(() => "let in", String));
    let second = "";
    await run(Effect.map(inside, (outcome) => (second = outcome)));
    expect(second).toContain(`is in use by process ${process.pid}`);
    await writeFile(join(folder, "run.lock"), "999999999 of a process that was killed\n");
    await run(Effect.void);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a run folder that cannot be written to", () => {
  const start = (path: string) =>
    Effect.runPromise(Effect.void.pipe(Effect.provide(RunFolder.layer(path)), Effect.provide(system)));

  it("is refused at the start", async () => {
    await writeFile(join(folder, "file"), "");
    const path = join(folder, "file/run");
    const error = await start(path).then(() => "let in", String);
    expect(error).toContain(`The run folder ${path} cannot be written to`);
    expect(error).toContain("name another folder");
  });

  it.skipIf(process.platform !== "linux")("is refused where no folder can be made", async () => {
    const error = await start("/proc/none/run").then(() => "let in", String);
    expect(error).toContain("The run folder /proc/none/run cannot be written to: NotFound");
  });

  it("stops a run whose disk is full, the last good checkpoint intact", async () => {
    await open(save("a", 1));
    const full = await open(save("a", 2), failing("BadResource", "metrics.jsonl")).then(String, String);
    expect(full).toContain(`The run folder ${folder} cannot be written to`);
    expect(full).toContain("ENOSPC");
    expect(await open(load("a"))).toMatchObject({ step: 1 });
  });
});

describe("checkConfigChange", () => {
  const started = { seed: 1, pretrain: { steps: 10, learningRate: 0.1 }, ppo: { sampleEvery: 5 } };
  const options = { mayChange: ["*.sampleEvery"], mayGrow: ["*.steps"] };

  it("lets fields change that may", async () => {
    const wanted = { seed: 1, pretrain: { steps: 20, learningRate: 0.1 }, ppo: { sampleEvery: 9 } };
    await Effect.runPromise(checkConfigChange(started, wanted, options));
  });

  it("names every other field with both values", async () => {
    const wanted = {
      seed: 2,
      pretrain: { steps: 5, learningRate: 0.2 },
      ppo: { sampleEvery: 5 },
      more: true,
    };
    const { problems } = await Effect.runPromise(Effect.flip(checkConfigChange(started, wanted, options)));
    expect(problems.map(({ where, problem }) => `${where}: ${problem}`)).toEqual([
      "seed: the run was started with 1, now it is 2",
      "pretrain.steps: the run was started with 10, now it is 5",
      "pretrain.learningRate: the run was started with 0.1, now it is 0.2",
      "more: the run was started with absent, now it is true",
    ]);
  });
});

/** A file system on which files of one name fail: a full disk, or one that must not be written to, or read. */
function failing(reason: "BadResource" | "PermissionDenied", name = "arrays.bin") {
  const refuse = (path: string, method: string) =>
    Effect.fail(
      PlatformError.systemError({
        _tag: reason,
        module: "FileSystem",
        method,
        description: "ENOSPC: no space left on device",
        pathOrDescriptor: path,
      }),
    );
  const broken = Effect.map(FileSystem.FileSystem, (files) => ({
    ...files,
    open: (path: string, options?: Parameters<typeof files.open>[1]) =>
      path.endsWith(name) ? refuse(path, "open") : files.open(path, options),
    readFileString: (path: string, encoding?: string) =>
      path.endsWith(name) ? refuse(path, "readFileString") : files.readFileString(path, encoding),
    writeFileString: (path: string, text: string, options?: Parameters<typeof files.writeFileString>[2]) =>
      path.endsWith(name) ? refuse(path, "writeFileString") : files.writeFileString(path, text, options),
  }));
  const files = Layer.effect(FileSystem.FileSystem, broken).pipe(Layer.provide(NodeFileSystem.layer));
  return Layer.merge(files, NodePath.layer);
}
