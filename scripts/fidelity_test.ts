import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const page = readFileSync("docs/fidelity.md", "utf8");

it("docs/fidelity.md has every test that measures against a reference (npx tsx scripts/fidelity.ts writes it)", () => {
  const tests = readdirSync("packages")
    .flatMap((name) => readdirSync(`packages/${name}`).map((file) => `packages/${name}/${file}`))
    .filter((file) => file.endsWith("_test.ts") && readFileSync(file, "utf8").includes("expectFidelity"));
  for (const test of tests) expect(page).toContain(`(../${test})`);
});

it("docs/fidelity.md names every script that makes golden values", () => {
  for (const script of readdirSync("bench/references"))
    expect(page).toContain(`(../bench/references/${script})`);
});

it("docs/fidelity.md names scripts and tests that are there, and errors that are allowed", () => {
  for (const [, file] of page.matchAll(/\]\(\.\.\/([^)]+)\)/g)) expect(existsSync(file!), file).toBe(true);
  for (const [, error, allowed] of page.matchAll(/\| (\S+e[+-]\d+) \| (\S+e[+-]\d+) \|/g)) {
    expect(Number(error)).toBeLessThan(Number(allowed));
  }
});
