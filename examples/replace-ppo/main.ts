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
import { fold, InvalidInput, key, Progress, RunFolder } from "@rlhf/core";
import { Backend } from "@rlhf/tensor";
import { Console, Effect, FileSystem, Layer } from "effect";
import { Config } from "../instructgpt-repro/config.ts";
import { loadData } from "../instructgpt-repro/data.ts";
import { decodeConfig } from "../instructgpt-repro/flags.ts";
import { manifest } from "../instructgpt-repro/manifest.ts";
import { showProgress } from "../instructgpt-repro/terminal.ts";
import { type Flags, help, readFlags, UsageError } from "./flags.ts";
import { handOver } from "./hand_over.ts";
import { type Judged, judges } from "./judge.ts";
import { openRun, readConfig } from "./open_run.ts";
import { type Failure, writeReport } from "./report.ts";
import { sharedPresets, withBudget } from "./settings.ts";
import { trainSharedStages } from "./shared_stages.ts";

const compare = Effect.fn("compare")(function* (flags: Flags, config: Config) {
  const folder = yield* RunFolder;
  const backend = yield* Backend;
  yield* Console.log(`Backend ${backend.name}: ${backend.reason}\nRun folder ${folder.path}`);
  yield* showProgress;

  const from = resolve(flags.from ?? folder.file("shared"));
  const data = yield* loadData(config, fold(key(config.seed), "data"));
  if (flags.from === undefined) yield* Effect.provide(trainSharedStages(config, data), RunFolder.layer(from));
  const run = yield* openRun(from, config, data);
  const { criteria: _, ...hashed } = data; // without the functions
  const record = manifest({ seed: config.seed, backend, data: hashed });
  yield* folder.writeJson("manifest.json", record);
  yield* handOver(from, config, run);

  const failures: Array<Failure> = [];
  for (const seed of flags.seeds) {
    for (const name of flags.optimizers) {
      yield* Console.log(`\n── ${name}, seed ${seed}`);
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

/** A run never writes into the folder of another. */
const refuseUsed = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  if (!(yield* files.exists(path)) || (yield* files.readDirectory(path)).length === 0) return;
  const problem = `${path} is not empty`;
  return yield* new InvalidInput({
    problems: [{ where: "--run", problem, remedy: "Name another folder, or remove this one" }],
  });
});

const program = Effect.gen(function* () {
  const flags = yield* readFlags(process.argv.slice(2));
  if (flags.help) return yield* Console.log(help);
  yield* refuseUsed(flags.run);
  const config = withBudget(
    flags.from === undefined
      ? yield* decodeConfig(Config, sharedPresets[flags.smoke ? "smoke" : "small"])
      : yield* readConfig(flags.from),
  );
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
