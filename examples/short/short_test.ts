import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const folder = import.meta.dirname;
const examples = readdirSync(folder).filter((name) => /\.ts$/.test(name) && !/_test|quietly/.test(name));

it.each(examples)("%s runs", { timeout: 60_000 }, async (name) => {
  const tsx = join(folder, "../../node_modules/.bin/tsx");
  const { stdout } = await promisify(execFile)(tsx, [join(folder, name), "--smoke"]);
  expect(stdout.trim()).not.toBe("");
});
