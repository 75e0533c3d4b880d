/**
 * The InstructGPT pipeline with the last stage chosen by one import, and every choice compared: the same prompts, the same
 * reward model, the same KL budget.
 *
 *     npx tsx examples/replace-ppo/main.ts --from runs/laptop-seed1
 *     npx tsx examples/replace-ppo/main.ts --smoke --seeds 1
 */
import { fork } from "node:child_process";
import { resolve } from "node:path";
import * as NodeRuntime from "@effect/platform-node/NodeRuntime";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { InvalidInput, layerCheckpoints, Progress, RunFolder } from "@rlhf/core";
import { Backend } from "@rlhf/tensor";
import { Console, Effect, FileSystem, Layer } from "effect";
import { Config } from "../instructgpt-repro/config.ts";
import { decodeConfig } from "../instructgpt-repro/flags.ts";
import { manifest } from "../instructgpt-repro/manifest.ts";
import { showPlan } from "../instructgpt-repro/show_plan.ts";
import { showProgress } from "../instructgpt-repro/terminal.ts";
import { type Flags, help, readFlags, UsageError } from "./flags.ts";
import { handOver } from "./hand_over.ts";
import { type Judged, judges } from "./judge.ts";
import { isComplete, openRun, prepare, readConfig } from "./open_run.ts";
import { plansOf } from "./plan.ts";
import { type Failure, writeReport } from "./report.ts";
import { sharedPresets, withBudget } from "./settings.ts";
import { trainSharedStages } from "./shared_stages.ts";

const compare = Effect.fn("compare")(function* (flags: Flags, config: Config) {
  const folder = yield* RunFolder;
  const backend = yield* Backend;
  yield* Console.log(`Backend ${backend.name}: ${backend.reason}\nRun folder ${folder.path}`);
  yield* showProgress;

  const from = resolve(flags.from ?? sharedIn(flags.run));
  const trained = yield* isComplete(from);
  const setting = yield* prepare(from, config);
  yield* showPlan(setting, plansOf(setting, flags, trained));
  if (!trained) {
    const resumable = Layer.provideMerge(layerCheckpoints(), RunFolder.layer(from));
    yield* Effect.provide(trainSharedStages(setting), resumable);
  }
  const run = yield* openRun(from, setting);
  const { criteria: _, ...hashed } = setting.data; // without the functions
  const record = manifest({ seed: config.seed, backend, data: hashed });
  yield* folder.writeJson("manifest.json", record);
  yield* handOver(from, config, run);

  const files = yield* FileSystem.FileSystem;
  const failures: Array<Failure> = [];
  for (const seed of flags.seeds) {
    for (const name of flags.optimizers) {
      const own = folder.file(`${name}-seed${seed}`);
      yield* Console.log(`\n── ${name}, seed ${seed}`);
      if (yield* files.exists(`${own}/cost.json`)) {
        yield* Console.log("  trained already");
        continue;
      }
      yield* files.remove(own, { recursive: true, force: true }); // what an interrupted process left
      const code = yield* trainApart(folder.path, name, seed, config.backend);
      if (code !== 0) failures.push({ name, seed });
    }
  }

  const { judgeStart, judgeOptimizer } = judges(run, config);
  const start = yield* judgeStart(flags.seeds);
  const judged: Array<Judged> = [];
  for (const name of flags.optimizers) {
    const failed = failures.filter((one) => one.name === name).map(({ seed }) => seed);
    const seeds = flags.seeds.filter((seed) => !failed.includes(seed));
    if (seeds.length > 0) judged.push(yield* judgeOptimizer(name, seeds, start.answered));
  }
  const { seeds } = flags;
  const prompts = run.encoded.evaluation;
  const { versions } = record;
  yield* writeReport({ start, judged, failures, prompts, config, from, seeds, versions });
  if (failures.length > 0) process.exitCode = 1;
});

/** Runs `train_one.ts` in a process of its own; the result is its exit code. */
const trainApart = (run: string, name: string, seed: number, backend: string) =>
  Effect.callback<number>((resume) => {
    const program = new URL("train_one.ts", import.meta.url);
    const child = fork(program, [run, name, String(seed), backend], { stdio: "inherit" });
    child.on("close", (code) => resume(Effect.succeed(code ?? 1)));
    return Effect.sync(() => child.kill());
  });

/** Where the stages before the last are, if this run trains them. */
const sharedIn = (run: string) => `${run}/shared`;

/** A run never writes into the folder of another. */
const refuseUsed = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  if (!(yield* files.exists(path)) || (yield* files.readDirectory(path)).length === 0) return;
  const problem = `${path} is not empty`;
  const remedy = "Name another folder, or go on with this one by --resume";
  return yield* new InvalidInput({ problems: [{ where: "--run", problem, remedy }] });
});

/** The settings of the stages before the last, from the run that has them, or of those that will be trained. */
const chooseConfig = Effect.fnUntraced(function* ({ from, run, resume, smoke }: Flags) {
  if (from !== undefined) return yield* readConfig(from);
  if (resume && (yield* isComplete(sharedIn(run)))) return yield* readConfig(sharedIn(run));
  return yield* decodeConfig(Config, sharedPresets[smoke ? "smoke" : "laptop"]);
});

const program = Effect.gen(function* () {
  const flags = yield* readFlags(process.argv.slice(2));
  if (flags.help) return yield* Console.log(help);
  if (!flags.resume) yield* refuseUsed(flags.run);
  const config = withBudget(yield* chooseConfig(flags));
  yield* compare(flags, config).pipe(
    Effect.scoped,
    Effect.provide(Layer.merge(RunFolder.layer(flags.run), Progress.layer)),
    Effect.provide(Backend.layer(config.backend)),
  );
});

program.pipe(
  Effect.catch((error: Error) => {
    process.exitCode = error instanceof UsageError ? 2 : 1;
    return Console.error(`\n${error.message}`);
  }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain,
);
