import { NonFiniteLoss } from "@rlhf/core/errors";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { RunFolder } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { expect, it } from "vitest";
import { trainLoop } from "./train_loop.ts";

const recording = () => {
  const events: Array<ProgressEvent> = [];
  const publish = (event: ProgressEvent) => Effect.sync(() => void events.push(event));
  const layer = Layer.merge(
    Layer.succeed(Progress, { publish, events: Stream.empty }),
    RunFolder.layerMemory,
  );
  return { events, layer };
};

it("tells progress about the start, every step and the end, and returns the last metrics", async () => {
  const { events, layer } = recording();
  const step = (index: number) => Effect.succeed({ metrics: { loss: 1 / (index + 1) }, tokens: 8 });
  const loop = trainLoop({ stage: "sft", steps: 2, step });
  expect(await Effect.runPromise(Effect.provide(loop, layer))).toEqual({ loss: 0.5 });
  expect(events).toEqual([
    { _tag: "Started", stage: "sft", total: 2, unit: "steps" },
    { _tag: "Step", stage: "sft", step: 1, total: 2, metrics: { loss: 1 }, tokens: 8 },
    { _tag: "Step", stage: "sft", step: 2, total: 2, metrics: { loss: 0.5 }, tokens: 8 },
    { _tag: "Finished", stage: "sft", metrics: { loss: 0.5 } },
  ]);
});

it("fails with the stage, step and metric that is not finite", async () => {
  const { layer } = recording();
  const step = (index: number) =>
    Effect.succeed({ metrics: { loss: index === 1 ? Number.NaN : 1 }, tokens: 8 });
  const error = await Effect.runPromise(
    Effect.flip(Effect.provide(trainLoop({ stage: "sft", steps: 3, step }), layer)),
  );
  expect(error).toBeInstanceOf(NonFiniteLoss);
  expect(error).toMatchObject({ stage: "sft", step: 2, metric: "loss" });
});

it("stops between two steps when it is interrupted, though the steps are synchronous", async () => {
  const { events, layer } = recording();
  const step = () => Effect.sync(() => ({ metrics: { loss: 1 }, tokens: 8 }));
  const loop = Effect.provide(trainLoop({ stage: "sft", steps: 1e9, step }), layer);
  const fiber = Effect.runFork(loop);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await Effect.runPromise(Fiber.interrupt(fiber));
  expect(events.at(-1)?._tag).toBe("Step");
});
