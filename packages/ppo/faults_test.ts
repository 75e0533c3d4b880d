import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { integers, key, uniforms } from "@rlhf/core/random";
import { afterAll, beforeAll, expect, it } from "vitest";

/**
 * Kills each stage at random moments and lets it go on, until it ends: what comes out must be what an uninterrupted run
 * gives, bit for bit. `npm run test:faults` kills every stage 25 times; without it two of them are killed once.
 */
const kills = Number(process.env.RLHF_FAULTS ?? 1);
const stages = kills > 1 ? ["pretrain", "sft", "reward", "comparisons", "ppo"] : ["sft", "ppo"];
const program = join(import.meta.dirname, "testing/stage_run.ts");
const timings = /"\w*PerSecond":[^,}]*,?/g;

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "rlhf-faults-"));
});
afterAll(() => rm(root, { recursive: true }));

interface Run {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function start(folder: string, stage: string): Run {
  const child = spawn(process.execPath, ["--import", "tsx", program, folder, stage], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += String(data)));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { process: child, output: () => output, ended };
}

/** Waits until the process has printed so many steps, or ended. */
async function made(run: Run, steps: number): Promise<void> {
  const enough = () => (run.output().match(/^step /gm) ?? []).length >= steps;
  while (run.process.exitCode === null && !enough()) await delay(2);
}

const delay = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** All that a run leaves, but for the speed. */
function outcome(folder: string, output: string) {
  const log = (name: string) => {
    const file = join(folder, name);
    return existsSync(file) ? readFileSync(file, "utf8").replace(timings, "") : "";
  };
  return {
    hash: /^hash .*$/m.exec(output)?.[0],
    metrics: log("metrics.jsonl"),
    samples: log("samples.jsonl"),
  };
}

const wholes = new Map<string, ReturnType<typeof outcome>>();

/** What a run gives that nobody disturbs. */
async function undisturbed(stage: string) {
  const known = wholes.get(stage);
  if (known !== undefined) return known;
  const folder = join(root, `${stage}-whole`);
  const run = start(folder, stage);
  expect(await run.ended, run.output()).toBe(0);
  const whole = outcome(folder, run.output());
  expect(whole.hash).toBeDefined();
  wholes.set(stage, whole);
  return whole;
}

it.each(stages)(
  "%s that is killed and goes on ends as if nothing had happened",
  { timeout: 60_000 + 20_000 * kills },
  async (stage) => {
    const whole = await undisturbed(stage);
    const draws = uniforms(key(stage.length), 2 * kills);
    let killed = 0;
    for (let attempt = 0; killed < kills; attempt++) {
      const folder = join(root, `${stage}-${attempt}`);
      let run = start(folder, stage);
      while (killed < kills) {
        // At any moment of some steps, now and then while it starts.
        const [early] = integers(key(killed), 1, 8);
        if (early === 0) await delay(3000 * draws[2 * killed]!);
        else await made(run, 1 + Math.floor(12 * draws[2 * killed]!));
        await delay(40 * draws[2 * killed + 1]!);
        if (run.process.exitCode !== null) break;
        run.process.kill("SIGKILL");
        await run.ended;
        killed++;
        run = start(folder, stage);
      }
      expect(await run.ended, run.output()).toBe(0);
      expect(outcome(folder, run.output())).toEqual(whole);
    }
  },
);

it("saves and stops within two seconds when it is asked to, and goes on", { timeout: 60_000 }, async () => {
  const folder = join(root, "asked");
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const run = start(folder, "sft");
    await made(run, 5);
    const asked = performance.now();
    run.process.kill(signal);
    expect(await run.ended).toBe(130);
    expect(performance.now() - asked).toBeLessThan(2000);
  }
  const run = start(folder, "sft");
  await made(run, 1);
  const second = start(folder, "sft");
  expect(await second.ended).toBe(1);
  expect(second.output()).toContain(`is in use by process ${run.process.pid}`);
  await run.ended;
  expect(run.output()).toMatch(/note Going on after step \d\d/);
  expect(outcome(folder, run.output())).toEqual(await undisturbed("sft"));
});
