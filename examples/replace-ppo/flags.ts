import { parseArgs } from "node:util";
import { Effect, Schema } from "effect";
import { optimizers } from "./optimizers.ts";

/** The command line asks for something that does not exist; exit code 2. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  problems: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return `${this.problems.join("\n")}\n--help lists every flag`;
  }
}

export const help = `The InstructGPT pipeline, its last stage by every optimizer, and who wins.

  npx tsx examples/replace-ppo/main.ts

  --from FOLDER       run of examples/instructgpt-repro whose policy, reward model and comparisons are taken; without it they are trained, by its preset laptop
  --optimizers LIST   of ${Object.keys(optimizers).join(", ")}; all unless given
  --seeds LIST        seeds of the last stage; 1,2,3 unless given
  --run FOLDER        where everything is left; runs/replace-ppo unless given
  --resume            goes on with the run in that folder; what is trained stays
  --smoke             everything, so small that nothing of note is learned
  --help              this text`;

const options = {
  from: { type: "string" },
  optimizers: { type: "string", default: Object.keys(optimizers).join() },
  seeds: { type: "string", default: "1,2,3" },
  run: { type: "string", default: "runs/replace-ppo" },
  resume: { type: "boolean", default: false },
  smoke: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** Reads the command line; fails with `UsageError`, all problems at once. */
export const readFlags = Effect.fn("readFlags")(function* (args: Array<string>) {
  const { values } = yield* Effect.try({
    try: () => parseArgs({ args, options }),
    catch: (error) => new UsageError({ problems: [(error as Error).message] }),
  });
  const names = [...new Set(values.optimizers.split(","))];
  const seeds = [...new Set(values.seeds.split(","))];
  const known = Object.keys(optimizers).join(", ");
  const problems = [
    ...names
      .filter((name) => !Object.hasOwn(optimizers, name))
      .map((name) => `--optimizers: ${JSON.stringify(name)} is none of ${known}`),
    ...seeds
      .filter((seed) => !/^\d+$/.test(seed))
      .map((seed) => `--seeds: ${JSON.stringify(seed)} is no whole number from 0`),
  ];
  if (values.smoke && values.from !== undefined)
    problems.push("--smoke trains the shared stages itself; leave --from out");
  if (problems.length > 0) return yield* new UsageError({ problems });
  return { ...values, optimizers: names, seeds: seeds.map(Number) };
});
export type Flags = Effect.Success<ReturnType<typeof readFlags>>;
