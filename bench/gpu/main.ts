/**
 * Whether the GPU engines are right on this machine, and how fast, beside PyTorch where that is installed. It is what
 * `npm run bundle:gpu` packs, and runs in the repository too.
 *
 *     npx tsx bench/gpu/main.ts                              # cuda and webgpu
 *     npx tsx bench/gpu/main.ts --backends native --smoke    # tiny and once, to see that everything runs
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { tolerance } from "@rlhf/tensor/testing/fused_cases";
import { plainTolerances } from "@rlhf/tensor/testing/plain_case";
import { roundedTolerance } from "@rlhf/tensor/testing/run_on";
import { compareOne, speedTitles } from "../speed/compare.ts";
import { flopsPerToken, type Precision, type Work } from "../speed/measures.ts";
import { findPyTorch } from "../speed/python.ts";
import { median, number, percent, printTable } from "../speed/report.ts";
import { Session, say } from "../speed/session.ts";
import { type Player, type Round, takeTurns } from "../speed/turns.ts";
import { gpuComparisons, gpuProducts, peakOf } from "./measures.ts";

const { values } = parseArgs({
  options: {
    backends: { type: "string", default: "cuda,webgpu" },
    python: { type: "string", default: process.env.BENCH_PYTHON ?? "python3" },
    smoke: { type: "boolean", default: false },
  },
});

/** What a command prints, or nothing where it is not there. */
function output(program: string, ...args: Array<string>): string | undefined {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}

const gpu = output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")?.split("\n")[0];
const found = await findPyTorch(values.python);
const seesGpu = output(values.python, "-c", "import torch; print(torch.cuda.is_available())") === "True";
const python = "missing" in found || !(seesGpu || values.smoke) ? undefined : values.python;
console.log(`${gpu ?? "No NVIDIA GPU"}, Node ${process.versions.node}.`);
console.log(
  "missing" in found
    ? found.missing
    : `PyTorch ${found.version}${python ? "" : ", which sees no GPU: not measured"}.`,
);
if (values.smoke) console.log("\nEverything is tiny and done once: the figures below mean nothing.");

const folder = mkdtempSync(join(tmpdir(), "rlhf-gpu-"));
let wrong = false;
try {
  for (const backend of values.backends.split(",")) {
    console.log(`\n## ${backend}\n`);
    const device = seesGpu ? "cuda" : "cpu";
    const session = new Session({ folder, python, smoke: values.smoke, on: { backend, device } });
    const operations = await session.ours({ kind: "operations" }).catch(({ message }: Error) => message);
    if (typeof operations === "string") {
      console.log(`not available: ${operations}\n`);
      continue;
    }
    try {
      await check(operations, session);
      if (backend === "cuda") await checkRounded(session);
      await measure(backend, session);
    } catch (error) {
      wrong = true;
      console.log(`failed: ${(error as Error).message}\n`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = wrong ? 1 : 0;

/** The numbers of the plain JavaScript kernels: from every operation, and from steps of every stage. */
async function check(operations: Player, session: Session): Promise<void> {
  console.log(`${operations.name}.\n`);
  say("operations");
  const atMost: Readonly<Record<string, number>> = plainTolerances;
  printGaps(
    "Fused operations with their gradients, and tfjs's own by kind",
    "operations",
    await onceAround(operations),
    (name) => atMost[name] ?? tolerance,
  );
  say("stages");
  const stages = await onceAround(await session.ours({ kind: "stages" }));
  printGaps("What steps of every stage report", "stage", stages, () => 1e-3);
}

/** In bf16 outputs are compared as a whole. */
async function checkRounded(session: Session): Promise<void> {
  say("operations in bf16");
  const gaps = await onceAround(await session.ours({ kind: "operations" }, 1, "bf16"));
  printGaps(
    "Fused operations in bf16: the norm of what an output is off by",
    "operation",
    gaps,
    () => roundedTolerance,
  );
}

function printGaps(
  what: string,
  title: string,
  gaps: Round["parts"],
  atMost: (name: string) => number,
): void {
  const rows = Object.entries(gaps).map(([name, gap]) => ({ name, gap, agrees: gap <= atMost(name) }));
  wrong ||= !rows.every(({ agrees }) => agrees);
  printTable(
    `${what}, beside the plain JavaScript kernels in float32: the largest relative difference.`,
    [title, "difference", "at most", "agrees"],
    rows.map(({ name, gap, agrees }) => [
      name,
      gap.toExponential(1),
      atMost(name).toExponential(),
      agrees ? "yes" : "NO",
    ]),
  );
}

async function measure(backend: string, session: Session): Promise<void> {
  say("launches");
  const { launch } = await onceAround(await session.ours({ kind: "launches" }));
  console.log(`An operation that does nothing much costs ${number(1e6 * launch!)} µs to ask for.\n`);

  const precisions: ReadonlyArray<Precision> = backend === "cuda" ? ["fp32", "tf32", "bf16"] : ["fp32"];
  const products = [];
  for (const precision of precisions) products.push(...(await productRows(session, precision)));
  printTable(
    "Matrix products in TFLOP/s, and as a share of what the maker promises.",
    ["precision", "m×n×k", "@rlhf", "of peak", "PyTorch", "of peak"],
    products,
  );

  const precision = precisions.at(-1)!;
  const speeds = [];
  for (const comparison of gpuComparisons) {
    const { speed, rate, rounds } = await compareOne(session, { ...comparison, precision });
    const { work } = comparison;
    const peak = work.kind === "training" ? peakOf(gpu, precision) : undefined;
    speeds.push([...speed, peak && percent((rate * flopsPerToken(work)) / peak)]);
    if (work.kind !== "ppo") continue;
    const phases = Object.keys(rounds[0]!.parts).map((phase) => [
      phase,
      number(1000 * median(rounds.map(({ parts }) => parts[phase]!))),
    ]);
    printTable(`${comparison.name}: milliseconds of its phases.`, ["phase", "ms"], phases);
  }
  printTable(
    `Tokens a second in ${precision}, medians of rounds in turns with PyTorch${precision === "bf16" ? " (bf16 autocast)" : ""}.`,
    [...speedTitles, "of peak"],
    speeds,
  );
}

/** The one round of what has no peer. */
async function onceAround(player: Player): Promise<Round["parts"]> {
  const { parts } = await player.round();
  await player.stop();
  return parts;
}

async function productRows(session: Session, precision: Precision) {
  const work: Work = { kind: "products", ...gpuProducts };
  say(`products, ${precision}`);
  const players = [
    await session.ours(work, 1, precision),
    ...(await session.peers(work, ["eager"], 1, precision)).map(({ player }) => player),
  ];
  const rounds = await takeTurns(players, session.rounds(5));
  for (const player of players) await player.stop();
  const peak = peakOf(gpu, precision);
  return Object.keys(rounds[0]![0]!.parts).map((shape) => {
    const flops = 2 * shape.match(/\d+/g)!.reduce((product, size) => product * Number(size), 1);
    const sides = [0, 1].flatMap((side) => {
      const seconds = rounds[side]?.map(({ parts }) => parts[shape]!);
      const rate = seconds && flops / median(seconds);
      return [rate && number(rate / 1e12), rate && peak && percent(rate / peak)];
    });
    return [precision, shape, ...sides];
  });
}
