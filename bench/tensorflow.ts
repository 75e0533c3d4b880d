/**
 * Holds every backend against `cpu`: the first training steps of every stage, loss by loss.
 *
 *     npx pnpm@12.21.0 bench:tensorflow --modules FOLDER
 *
 * FOLDER is where `build_tfjs_node.sh`, or `npm i @tensorflow/tfjs-node`, has put its node_modules. Prints a table and
 * exits with 1 when a loss is further from that of `cpu` than the tolerance.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Outcome, TrainingStep } from "./training_steps.ts";

/**
 * Largest relative difference between two losses. Backends add up in different orders, which moves a float32 sum by
 * about 1e-7; AdamW divides each gradient by its own size, so that where one is almost zero its rounding alone sets the
 * direction of the step, and the stages, each on the one before, make 1e-5 to 1e-4 of it. A kernel that is wrong by one
 * percent, or a wrong gradient, moves a loss by percents: see README.md.
 */
const tolerance = 1e-3;

const peers = ["tensorflow", "wasm", "native"] as const;
const { values } = parseArgs({ options: { modules: { type: "string", default: "." } } });
const folder = resolve(values.modules);

async function train(backend: string): Promise<Outcome> {
  const child = fork(join(import.meta.dirname, "training_steps.ts"), [backend], {
    cwd: folder, // where the backend is looked for
    env: { TF_CPP_MIN_LOG_LEVEL: "2", ...process.env },
  });
  let outcome: Outcome | undefined;
  child.on("message", (message) => {
    outcome = message as Outcome;
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0 || outcome === undefined) throw new Error(`${backend} ended early: ${signal ?? code}`);
  return outcome;
}

const reference = await train("cpu");
if ("unavailable" in reference) throw new Error(reference.unavailable);

const compared: Array<{ readonly name: string; readonly steps: ReadonlyArray<TrainingStep> }> = [];
for (const name of peers) {
  const outcome = await train(name);
  if ("steps" in outcome) {
    compared.push({ name, steps: outcome.steps });
    continue;
  }
  console.log(`${outcome.unavailable}\n`);
  if (name === "tensorflow") {
    console.log("Or build it: bash bench/build_tfjs_node.sh FOLDER, then come back with --modules FOLDER\n");
  }
}

const table = reference.steps.map((expected, row) => {
  const { stage, step } = expected;
  const found = compared.map(({ name, steps }) => {
    const same = steps[row]!;
    if (same.stage === stage && same.step === step) return same;
    throw new Error(`${name} did ${same.stage} ${same.step} where cpu did ${stage} ${step}`);
  });
  const furthest = (quantity: "loss" | "gradNorm") =>
    Math.max(...found.map((same) => Math.abs(same[quantity] / expected[quantity] - 1)));
  return {
    cells: [stage, step, ...[expected, ...found].map(({ loss }) => loss.toPrecision(7))],
    loss: furthest("loss"),
    gradNorm: furthest("gradNorm"),
  };
});

const line = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`;
const titles = ["stage", "step", "cpu", ...compared.map(({ name }) => name), "Δ loss", "Δ gradient norm"];
console.log(line(titles));
console.log(line(titles.map(() => "---")));
for (const { cells, loss, gradNorm } of table) {
  console.log(line([...cells, loss.toExponential(1), gradNorm.toExponential(1)]));
}

// Not "some are above": NaN is not within the tolerance either.
const agrees = compared.length > 0 && table.every(({ loss }) => loss <= tolerance);
console.log(`\nThe losses ${agrees ? "agree" : "do not agree"} within ${tolerance} relative.`);
process.exitCode = agrees ? 0 : 1;
