/** Trains one optimizer with one seed, in a process of its own so that its memory is its own: `train_one.ts RUN OPTIMIZER SEED BACKEND`. */
import { readFileSync } from "node:fs";
import * as NodeRuntime from "@effect/platform-node/NodeRuntime";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { Progress, RunFolder } from "@rlhf/core";
import { Backend } from "@rlhf/tensor";
import { Console, Effect, Layer } from "effect";
import { save } from "../instructgpt-repro/save.ts";
import { showProgress } from "../instructgpt-repro/terminal.ts";
import type { Cost } from "./cost.ts";
import { takeOver } from "./hand_over.ts";
import { optimizers } from "./optimizers.ts";

const [run = "", name = "", seed = "", backend = ""] = process.argv.slice(2);

const program = Effect.gen(function* () {
  const folder = yield* RunFolder;
  yield* showProgress;
  const stage = yield* takeOver(run, Number(seed));
  const { optimize } = yield* Effect.promise(optimizers[name]!);
  const [started, before] = [performance.now(), process.cpuUsage()];
  const policy = yield* optimize(stage);
  const { user, system } = process.cpuUsage(before);
  const cost: Cost = {
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (user + system) / 1e6,
    peakMebibytes: peakMebibytes(),
  };
  yield* save("policy", policy, stage.tokenizer);
  yield* folder.writeJson("cost.json", cost);
});

/** Linux counts the memory of the process that started this one in `maxRSS`, but not in `VmHWM`. */
function peakMebibytes(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS / 1024;
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;
}

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.merge(RunFolder.layer(`${run}/${name}-seed${seed}`), Progress.layer)),
  Effect.provide(Backend.layer(backend as Parameters<typeof Backend.layer>[0])),
  Effect.catch((error) => {
    process.exitCode = 1;
    return Console.error(`\n${error.message}`);
  }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain,
);
