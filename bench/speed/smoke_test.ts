import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { median, number, ratioOf } from "./report.ts";

it("measures our side alone where there is no PyTorch, and says how to get it", async () => {
  const main = join(import.meta.dirname, "main.ts");
  const args = ["--import", "tsx", main, "--smoke", "--python", "no-such-python"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(stdout).toContain("pip install torch==");
  for (const measure of ["training step", "sampling with a KV cache", "PPO iteration"]) {
    expect(stdout).toMatch(new RegExp(`\\| ${measure}[^|]*\\| [\\d,.]+ \\| – \\|`));
  }
  expect(stdout).toMatch(/\| all together \| [\d.]+ \|/);
  expect(stdout).toMatch(/\| training, batch \|/);
});

it("takes ratios round by round", () => {
  expect(ratioOf([1, 2, 4], [3, 4, 20])).toEqual({ middle: 3, least: 2, greatest: 5 });
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect([0.012345, 12.345, 1234.5].map(number)).toEqual(["0.0123", "12.3", "1,235"]);
});
