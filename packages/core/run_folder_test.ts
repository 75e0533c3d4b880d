import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { expect, it } from "vitest";
import { Progress } from "./progress.ts";
import { RunFolder } from "./run_folder.ts";

it("writes whole files and growing lines, and leaves no partial file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rlhf-core-"));
  try {
    const layer = RunFolder.layer(join(folder, "run")).pipe(
      Layer.provide([NodeFileSystem.layer, NodePath.layer]),
    );
    await Effect.runPromise(
      Effect.gen(function* () {
        const run = yield* RunFolder;
        yield* run.writeJson("config/config.json", { seed: 1 });
        yield* run.appendMetrics("sft", 1, { loss: 2 });
        yield* run.appendMetrics("sft", 2, { loss: 1 });
      }).pipe(Effect.provide(layer)),
    );
    expect(JSON.parse(await readFile(join(folder, "run/config/config.json"), "utf8"))).toEqual({ seed: 1 });
    expect(await readFile(join(folder, "run/metrics.jsonl"), "utf8")).toBe(
      '{"stage":"sft","step":1,"loss":2}\n{"stage":"sft","step":2,"loss":1}\n',
    );
    expect(
      (await readdir(join(folder, "run"), { recursive: true })).filter((f) => f.endsWith(".partial")),
    ).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it("delivers progress to a watcher that subscribes late", async () => {
  const events = await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const progress = yield* Progress;
        yield* progress.publish({ _tag: "Started", stage: "sft", total: 1, unit: "steps" });
        const watcher = yield* progress.events.pipe(
          Stream.take(2),
          Stream.runCollect,
          Effect.forkChild({ startImmediately: true }),
        );
        yield* progress.publish({ _tag: "Finished", stage: "sft", metrics: {} });
        return yield* Fiber.join(watcher);
      }),
    ).pipe(Effect.provide(Progress.layer)),
  );
  expect(events.map((event) => event._tag)).toEqual(["Started", "Finished"]);
});
