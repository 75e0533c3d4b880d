import { existsSync, realpathSync } from "node:fs";
import * as NodeRuntime from "@effect/platform-node/NodeRuntime";
import * as NodeServices from "@effect/platform-node/NodeServices";
import {
  checkConfigChange,
  fold,
  InvalidInput,
  key,
  layerCheckpoints,
  Progress,
  RunFolder,
} from "@rlhf/core";
import { Backend } from "@rlhf/tensor";
import { tokenizerFromJson, trainBpe } from "@rlhf/tokenizer";
import { initModel } from "@rlhf/transformer";
import { Console, Effect, FileSystem, Layer, type Path } from "effect";
import { allProblems } from "./all_problems.ts";
import { Config } from "./config.ts";
import { loadData, type OwnFiles, readOwn } from "./data.ts";
import { encodeData } from "./encode.ts";
import { decodeConfig, parseFlags, UsageError } from "./flags.ts";
import { helpText } from "./help.ts";
import { loadBase } from "./load_base.ts";
import { adapted, refuseAdapterOfNothing } from "./lora.ts";
import { manifest } from "./manifest.ts";
import { refuseTies } from "./own_comparisons.ts";
import { planOf } from "./plan.ts";
import { defaultPreset, presets } from "./presets.ts";
import { notEvaluated, type Results, writeReport } from "./report.ts";
import type { Setting } from "./setting.ts";
import { refuseWhatDoesNotFit, showPlan } from "./show_plan.ts";
import { showProgress } from "./terminal.ts";

/** What a pipeline finds: files, a place to write to, somebody who watches. */
type Services = RunFolder | Progress | FileSystem.FileSystem | Path.Path;

/**
 * Reads the command line, checks everything that can be wrong before any work starts, runs the pipeline in a run folder
 * of its own and writes the report. Exit codes: 0 done, 1 failed or refused, 2 not understood, 130 interrupted.
 */
export const start = <E>(pipeline: (setting: Setting) => Effect.Effect<Results, E, Services>): void => {
  const program = Effect.gen(function* () {
    const args = process.argv.slice(2);
    const flags = yield* parseFlags(args, presets, defaultPreset);
    if (flags.help) return yield* Console.log(helpText(flags.preset));
    const wanted = yield* checkedConfig(flags);
    yield* Effect.gen(function* () {
      const backend = yield* Backend;
      yield* Console.log(`Backend ${backend.name}: ${backend.reason}`);
      const { preset, fields, resume } = yield* affordable(args, flags, backend.name);
      const config = yield* decodeConfig(Config, fields);
      const byDefault = `runs/${preset}-seed${config.seed}`;
      const place = resume ? newestRun(config.run, byDefault) : freePath(config.run, byDefault);
      // Before the data are read, which tell the rest of the model's shape.
      if (resume) yield* refuseOtherConfig(yield* place, config, "model.*");
      const preparing = Effect.andThen(showProgress, prepare(config));
      const [path, { setting, plans }] = yield* allProblems([
        place,
        preparing.pipe(Effect.scoped, Effect.provide(Progress.layer)),
      ]);
      if (resume) yield* refuseOtherConfig(path, setting.config);
      yield* run(pipeline(setting), { setting, plans, path });
    }).pipe(Effect.provide(Backend.layer(wanted.backend)));
  });
  program.pipe(
    Effect.catch((error: unknown) => {
      process.exitCode = error instanceof UsageError ? 2 : 1;
      return Console.error(`\n${describe(error)}`);
    }),
    Effect.provide(NodeServices.layer),
    NodeRuntime.runMain,
  );
};

/** Whether this file is what Node was asked to run, by a link or without its ending too. */
export const isProgram = (file: string): boolean => {
  const [, asked = ""] = process.argv;
  return [asked, `${asked}.ts`].some((name) => existsSync(name) && realpathSync(name) === file);
};

/** The first problems of a bad file are enough to see what is wrong with it. */
function describe(error: unknown): string {
  const shown = 20;
  if (!(error instanceof InvalidInput) || error.problems.length <= shown) {
    return error instanceof Error ? error.message : String(error);
  }
  const first = new InvalidInput({ problems: error.problems.slice(0, shown) });
  return `${first.message}\n… and ${error.problems.length - shown} more problems`;
}

type Flags = Effect.Success<ReturnType<typeof parseFlags>>;

/** Where a value is out of range, the files that were named are read all the same, so that their problems show too. */
const checkedConfig = ({ fields, preset }: Flags) =>
  Effect.catch(decodeConfig(Config, fields, presets[preset]), (error) =>
    Effect.andThen(allProblems([Effect.fail(error), readOwn(fields as OwnFiles)]), Effect.fail(error)),
  );

/** Without the native engine the default preset would take an hour: a smaller one takes its place, unless one was asked for. */
const affordable = Effect.fnUntraced(function* (args: ReadonlyArray<string>, flags: Flags, backend: string) {
  const isChosen = args.some((arg) => arg === "--preset" || arg.startsWith("--preset="));
  if (isChosen || ["cuda", "webgpu", "native", "tensorflow"].includes(backend)) return flags;
  yield* Console.log(
    `Without the native engine the preset is small in place of ${defaultPreset}; --preset ${defaultPreset} insists`,
  );
  return yield* parseFlags(args, presets, "small");
});

const prepare = Effect.fn("prepare")(function* (wanted: Config) {
  yield* refuseAdapterOfNothing(wanted);
  yield* Console.log(
    `Reading the data and ${wanted.base === null ? "training a tokenizer" : `the checkpoint ${wanted.base}`} …`,
  );
  const [data, given] = yield* allProblems([
    loadData(wanted, fold(key(wanted.seed), "data")),
    wanted.base === null ? Effect.undefined : loadBase(wanted.base),
  ]);
  const tokenizer =
    given?.tokenizer ?? tokenizerFromJson(trainBpe(data.corpus.train, { vocabSize: wanted.vocabulary }));
  const shape = { architecture: "gpt2", vocabSize: tokenizer.vocabSize, ...wanted.model } as const;
  const model = given?.model.config ?? shape;
  const config = { ...wanted, model };
  const encoded = yield* encodeData(data, tokenizer, config);
  if (data.own.comparisons) yield* refuseTies(encoded.rankings, config);
  const plans = planOf(config, { model, encoded, ownComparisons: data.own.comparisons });
  yield* refuseWhatDoesNotFit(plans);
  const plain = given?.model ?? initModel(shape, fold(key(wanted.seed), "model"));
  const base = adapted(plain, wanted.lora, fold(key(wanted.seed), "adapter"));
  return { setting: { config, data, tokenizer, base, encoded } satisfies Setting, plans };
});

const holdsRun = (path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (files) => files.exists(`${path}/manifest.json`));

/** A run never writes into the folder of another: the default name is numbered, a name that was asked for is refused. */
const freePath = Effect.fnUntraced(function* (wanted: string | null, byDefault: string) {
  if (wanted !== null) {
    if (!(yield* holdsRun(wanted))) return wanted;
    const problem = `${wanted} holds a run already`;
    return yield* new InvalidInput({
      problems: [{ where: "--run", problem, remedy: "Name another folder, or go on with it by --resume" }],
    });
  }
  let path = byDefault;
  for (let number = 2; yield* holdsRun(path); number++) path = `${byDefault}-${number}`;
  return path;
});

/** The run to go on with: the one that was asked for, or the last of the default name. */
const newestRun = Effect.fnUntraced(function* (wanted: string | null, byDefault: string) {
  let path = wanted ?? byDefault;
  if (!(yield* holdsRun(path))) {
    const remedy = "Leave --resume out, or name the run's folder with --run";
    return yield* new InvalidInput({
      problems: [{ where: "--resume", problem: `${path} holds no run`, remedy }],
    });
  }
  if (wanted !== null) return path;
  for (let number = 2; yield* holdsRun(`${byDefault}-${number}`); number++) path = `${byDefault}-${number}`;
  return path;
});

/**
 * What does not change the results may change, and PPO at a constant learning rate may go on for longer; so may fields that
 * are not known yet.
 */
const refuseOtherConfig = Effect.fnUntraced(function* (
  path: string,
  config: Config,
  ...unknown: ReadonlyArray<string>
) {
  const files = yield* FileSystem.FileSystem;
  const started: unknown = JSON.parse(yield* files.readFileString(`${path}/config.json`));
  yield* checkConfigChange(started, JSON.parse(JSON.stringify(config)), {
    mayChange: ["run", "ppo.sampleEvery", "ppo.samples", ...unknown],
    mayGrow: ["ppo.iterations"],
  });
});

const run = <E, R>(
  pipeline: Effect.Effect<Results, E, R>,
  { setting, plans, path }: Effect.Success<ReturnType<typeof prepare>> & { readonly path: string },
) =>
  Effect.gen(function* () {
    const { config, data, encoded } = setting;
    const folder = yield* RunFolder;
    const { criteria: _, ...hashed } = data; // without the functions
    const record = manifest({ seed: config.seed, backend: yield* Backend, data: hashed });
    yield* folder.writeJson("config.json", config);
    yield* folder.writeJson("manifest.json", record);
    yield* Console.log(
      `Run folder ${path}\n${data.corpus.train.length.toLocaleString("en")} documents, ` +
        `${data.demonstrations.length.toLocaleString("en")} demonstrations, ${data.prompts.length.toLocaleString("en")} prompts, ` +
        `${data.evaluation.length} evaluation prompts`,
    );
    if (encoded.leftOut.length > 0) {
      yield* Console.log(
        `Left out, longer than the context of ${config.model.contextLength} tokens: ${encoded.leftOut.join(", ")}`,
      );
    }
    yield* showProgress;
    yield* showPlan(setting, plans);
    const results = yield* pipeline;
    yield* writeReport({
      ...results,
      notEvaluated: notEvaluated(data),
      configuration: { ...config },
      versions: record.versions,
    });
  }).pipe(
    Effect.onInterrupt(() => Console.error(`\nStopped. The same command with --resume goes on with ${path}`)),
    Effect.scoped,
    Effect.provide(
      layerCheckpoints().pipe(Layer.provideMerge(Layer.merge(RunFolder.layer(path), Progress.layer))),
    ),
  );
