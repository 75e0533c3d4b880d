import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { finish, printed, startExample as start } from "./testing/example_process.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-example-"));
  const text = animals.map((animal) => `The ${animal} is here. Nobody saw the ${animal}.`.repeat(20));
  await writeFile(file("corpus.txt"), text.join("\n"));
  const shown = animals.map((animal) => ({ prompt: ask(animal), response: `The ${animal} is here.` }));
  await writeFile(file("demonstrations.jsonl"), jsonl(shown));
});
afterAll(() => rm(folder, { recursive: true }));

const animals = ["cat", "dog", "cow", "owl", "fox", "bee", "ant", "hen", "pig", "rat", "bat", "elk"];
const ask = (animal: string) => `Where is the ${animal}?`;
const jsonl = (rows: ReadonlyArray<unknown>) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const file = (name: string) => join(folder, name);
/** Text and demonstrations of its own spare a run the making of WordNet's. */
const own = (demonstrations = "demonstrations.jsonl") => [
  ...["--corpus", file("corpus.txt"), "--vocabulary", "300"],
  ...["--demonstrations", file(demonstrations)],
];

describe("the smoke preset", () => {
  it("runs every stage and leaves a complete run folder", { timeout: 90_000 }, async () => {
    const { code, output } = await finish(start("--preset", "smoke", "--run", join(folder, "smoke")));
    expect(code, output).toBe(0);
    expect(output).toMatch(/Plan: [\d,]+ parameters, about \d+ min/);
    const rows = lines("smoke/metrics.jsonl");
    const stages = new Set(rows.map(({ stage }) => stage));
    const again = ["reward", "ppo-ptx", "ppo"].map((stage) => `${stage} (round 2)`);
    expect([...stages]).toEqual(["pretrain", "sft", "reward", "ppo-ptx", ...again]);
    for (const name of ["base", "sft-1", "reward-1", "policy-1", "ppo-ptx-1", "ppo-2", "ppo-ptx-2"]) {
      for (const file of ["config.json", "model.safetensors", "tokenizer.json"]) {
        expect(existsSync(join(folder, "smoke/checkpoints", name, file)), `${name}/${file}`).toBe(true);
      }
    }
    const report = JSON.parse(read("smoke/report.json"));
    expect(report.winRates.map(({ model }: { model: string }) => model)).toContain("ppo-ptx");
    expect(report.samples).toHaveLength(40);
    expect(read("smoke/report.html")).toContain("<!doctype html>");
    expect(JSON.parse(read("smoke/manifest.json")).seed).toBe(1);
  });

  it("ends as it would have when it is killed and resumed", { timeout: 120_000 }, async () => {
    const flags = ["--preset", "smoke", "--run", join(folder, "killed")];
    const run = start(...flags);
    await printed(run, "ppo-ptx");
    run.process.kill("SIGKILL");
    await finish(run);
    expect(existsSync(join(folder, "killed/report.json"))).toBe(false);
    const changed = await finish(start(...flags, "--resume", "--sft.epochs", "3"));
    expect(changed.code).toBe(1);
    expect(changed.output).toContain("sft.epochs: the run was started with 2, now it is 3");
    const { code, output } = await finish(start(...flags, "--resume"));
    expect(code, output).toBe(0);
    expect(JSON.parse(read("killed/report.json")).samples).toEqual(
      JSON.parse(read("smoke/report.json")).samples,
    );
    const steps = (name: string) =>
      lines(`${name}/metrics.jsonl`).map(({ stage, step }) => `${stage} ${step}`);
    expect(steps("killed")).toEqual(steps("smoke"));
  });

  it("trains on people's rankings, demonstrations and text in place of its own", {
    timeout: 90_000,
  }, async () => {
    await writeFile(
      file("comparisons.jsonl"),
      jsonl(
        animals.map((animal) => ({
          prompt: ask(animal),
          responses: [`The ${animal} is here.`, "No.", "Here."],
          ranks: [1, 3, 2],
        })),
      ),
    );
    const flags = [...own(), "--comparisons", file("comparisons.jsonl"), "--run", file("own")];
    const { code, output } = await finish(start("--preset", "smoke", ...flags));
    expect(code, output).toBe(0);
    const report = JSON.parse(read("own/report.json"));
    expect(report.winRates).toEqual([]);
    expect(report.notEvaluated.map(({ what }: { what: string }) => what).join()).toContain("win rates");
    expect(report.rewardModel.accuracy.value).toBeGreaterThanOrEqual(0);
  });

  it("stops within two seconds of Ctrl-C and leaves a usable run folder", { timeout: 60_000 }, async () => {
    const endless = ["--pretrain.steps", "100000", ...own()];
    const run = start("--preset", "smoke", "--run", file("stopped"), ...endless);
    await printed(run, "/100000");
    const asked = performance.now();
    run.process.kill("SIGINT");
    const { code } = await finish(run);
    expect(performance.now() - asked).toBeLessThan(2000);
    expect(code).toBe(130);
    expect(lines("stopped/metrics.jsonl").length).toBeGreaterThan(0);
    expect(existsSync(join(folder, "stopped/config.json"))).toBe(true);
  });
});

describe("bad input", () => {
  it("is refused before any work starts, all problems at once", async () => {
    await writeFile(join(folder, "empty.txt"), "");
    await writeFile(join(folder, "latin1.jsonl"), Buffer.from([0x7b, 0xe9, 0x7d]));
    const files = ["--corpus", join(folder, "empty.txt"), "--demonstrations", join(folder, "latin1.jsonl")];
    const { code, output } = await finish(start("--run", join(folder, "refused"), ...files));
    expect(code).toBe(1);
    expect(output).toContain("empty.txt");
    expect(output).toContain("latin1.jsonl");
    expect(existsSync(join(folder, "refused"))).toBe(false);
  });

  it("names every setting out of range by its flag", async () => {
    const { code, output } = await finish(
      start("--sft.dropout", "2", "--ppo.iterations", "0", "--seed", "x"),
    );
    expect(code).toBe(1);
    for (const flag of ["--sft.dropout", "--ppo.iterations", "--seed"]) expect(output).toContain(flag);
  });

  it("refuses a prompt that leaves no room for the answer", async () => {
    const prompt = "a very long question ".repeat(60);
    await writeFile(join(folder, "long.jsonl"), JSON.stringify({ prompt, response: "No." }));
    const run = start("--preset", "smoke", ...own("long.jsonl"), "--run", file("long"));
    const { code, output } = await finish(run);
    expect(code).toBe(1);
    expect(output).toContain("do not fit into the model's context of 64");
    expect(existsSync(join(folder, "long"))).toBe(false);
  });

  it("answers an unknown flag with exit code 2 and the nearest known one", async () => {
    const { code, output } = await finish(start("--ppo.iteration", "3"));
    expect(code).toBe(2);
    expect(output).toContain("did you mean --ppo.iterations?");
  });
});

function read(name: string): string {
  return readFileSync(join(folder, name), "utf8");
}

function lines(name: string): ReadonlyArray<{ readonly stage: string; readonly step: number }> {
  return read(name)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}
