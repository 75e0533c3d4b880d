import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { layerCheckpoints } from "@rlhf/core/checkpoints";
import { Progress } from "@rlhf/core/progress";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { disposeAdamw, initAdamw } from "./adamw.ts";
import { trainLoop } from "./train_loop.ts";
import { trainStep } from "./train_step.ts";

let folder = "";
beforeAll(() => useBackend("cpu"));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-memory-"));
});
afterEach(() => rm(folder, { recursive: true }));

interface Session {
  readonly steps: number;
  /** Stops the process, as far as it can be stopped from within, in place of this step. */
  readonly killAt?: number;
  readonly width?: number;
  readonly everySeconds?: number;
  /** Interrupts after so many milliseconds. */
  readonly interruptAfter?: number;
}

/** One process's share of a run: its weights at the end, its metrics, and the steps that it made. */
const session = async ({ steps, killAt, width = 3, everySeconds = 0, interruptAfter }: Session) => {
  const variable = (value: () => tf.Tensor) => tf.tidy(() => tf.variable(value()));
  const params = {
    w: variable(() => tf.range(1, width + 1)),
    n: variable(() => tf.tensor1d([1, 2], "int32")),
  };
  const state = initAdamw({ w: params.w });
  const made: Array<number> = [];
  const history: Array<number> = [];
  const loop = trainLoop({
    stage: "sft",
    steps,
    memory: {
      variables: { model: params },
      optimizers: { optimizer: state },
      values: { save: () => history, restore: (saved: ReadonlyArray<number>) => void history.push(...saved) },
    },
    step: Effect.fnUntraced(function* (index: number) {
      if (index === killAt) return yield* Effect.die("killed");
      const loss = (): tf.Scalar => tf.sum(tf.square(tf.sub(params.w, index)));
      const report = yield* Effect.promise(() =>
        trainStep({ params: { w: params.w }, state, losses: [loss], learningRate: 0.1 }),
      );
      made.push(index);
      history.push(report.loss);
      return { metrics: { loss: report.loss, validationLoss: report.loss }, tokens: 1 };
    }),
  });
  const run = loop.pipe(
    Effect.provide(layerCheckpoints({ everySeconds })),
    Effect.provide(Layer.merge(RunFolder.layer(folder), Progress.layerSilent)),
    Effect.provide([NodeFileSystem.layer, NodePath.layer]),
  );
  const fiber = Effect.runFork(run);
  if (interruptAfter !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, interruptAfter));
    await Effect.runPromise(Fiber.interrupt(fiber));
  }
  const exit = await Effect.runPromise(Fiber.await(fiber));
  const result = {
    exit,
    made,
    history,
    weights: [...(await params.w.data())],
    moments: [...(await state.secondMoments.w!.data())],
    updates: state.step,
  };
  disposeAdamw(state);
  tf.dispose(params);
  return result;
};

it("goes on where a killed process was, to the same bits", async () => {
  const whole = await session({ steps: 9 });
  await rm(folder, { recursive: true });
  expect((await session({ steps: 9, killAt: 4 })).made).toEqual([0, 1, 2, 3]);
  expect((await session({ steps: 9, killAt: 7 })).made).toEqual([4, 5, 6]);
  const last = await session({ steps: 9 });
  expect(last).toEqual({ ...whole, made: [7, 8] });
  const again = await session({ steps: 9 });
  expect(again).toEqual({ ...whole, made: [] });
  expect((await session({ steps: 11 })).made).toEqual([9, 10]);
});

it("saves when it is interrupted", async () => {
  const stopped = await session({ steps: 1e9, everySeconds: 3600, interruptAfter: 100 });
  expect(stopped.exit._tag).toBe("Failure");
  expect(stopped.made.length).toBeGreaterThan(0);
  const next = await session({ steps: stopped.made.length + 1, everySeconds: 3600 });
  expect(next.made).toEqual([stopped.made.length]);
});

it("refuses the checkpoint of another network", async () => {
  await session({ steps: 2 });
  const tensors = tf.memory().numTensors;
  const { exit } = await session({ steps: 3, width: 4 });
  expect(String(exit)).toContain("a tensor of shape [4] is required, found 3 numbers");
  expect(tf.memory().numTensors).toBe(tensors);
});
