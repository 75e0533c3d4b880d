import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { optimizers } from "./optimizers.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-replace-ppo-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("trains every optimizer, tells of all of them, and goes on with what is there", {
  timeout: 180_000,
}, async () => {
  const run = join(folder, "run");
  const { code, output } = await start("--smoke", "--seeds", "1", "--run", run);
  expect(code, output).toBe(0);
  const report = JSON.parse(readFileSync(join(run, "report.json"), "utf8"));
  const names = Object.keys(optimizers);
  expect(report.winRates.map(({ model }: { model: string }) => model).sort()).toEqual(names.toSorted());
  const [{ rows }] = report.tables;
  expect(rows).toHaveLength(names.length + 1); // and the policy that all of them started from
  for (const row of rows) expect(Object.values(row)).not.toContain("NaN");
  expect(rows.filter(({ optimizer }: { optimizer: string }) => optimizer.includes("*"))).toHaveLength(1);
  for (const name of names) {
    const { seconds, peakMebibytes } = JSON.parse(readFileSync(join(run, `${name}-seed1/cost.json`), "utf8"));
    expect(seconds).toBeGreaterThan(0);
    expect(peakMebibytes).toBeGreaterThan(10);
  }
  expect(readFileSync(join(run, "report.html"), "utf8")).toContain("<!doctype html>");
  const table = readFileSync(join(run, "table.md"), "utf8");
  expect(output).toContain(table);
  expect(output).toMatch(/Plan: .* parameters/);

  const again = await start("--smoke", "--seeds", "1", "--run", run, "--resume");
  expect(again.code, again.output).toBe(0);
  expect(again.output.split("trained already")).toHaveLength(names.length + 1);
  expect(again.output).toContain(table); // the same, with what training took
});

it("refuses a folder in use and one that is no run, before any work starts", async () => {
  await writeFile(join(folder, "mine.txt"), "");
  const used = await start("--smoke", "--run", folder);
  expect(used.code).toBe(1);
  expect(used.output).toContain("is not empty");
  const fresh = join(folder, "fresh");
  const empty = await start("--from", join(folder, "nothing"), "--run", fresh);
  expect(empty.code).toBe(1);
  expect(empty.output).toContain("has no checkpoints/reward-1");
  expect(existsSync(fresh)).toBe(false);
});

it("answers what it does not know with exit code 2, all at once", async () => {
  const { code, output } = await start("--optimizers", "ppo,pop", "--seeds", "one");
  expect(code).toBe(2);
  expect(output).toContain('"pop" is none of ppo, ppo-ptx');
  expect(output).toContain('"one" is no whole number');
});

function start(...flags: ReadonlyArray<string>): Promise<{ code: number; output: string }> {
  const main = join(import.meta.dirname, "main.ts");
  return new Promise((resolve) =>
    execFile(process.execPath, ["--import", "tsx", main, ...flags], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr }),
    ),
  );
}
