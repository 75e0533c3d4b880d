/** The same as stages_test.ts in Deno, on its own WebGPU: a GPU's or, where there is none, Chromium's SwiftShader. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { bundleStages, expectCpuMetrics, type OnWebGpu } from "./testing/bundle_stages.ts";
import { findProgram } from "./testing/find_program.ts";
import { stageNames } from "./testing/stage_metrics.ts";

const deno = findProgram(["deno"], "DENO", "npm i -g deno");
const chromium = "/usr/lib/chromium";
const software = existsSync(`${chromium}/vk_swiftshader_icd.json`)
  ? { VK_ICD_FILENAMES: `${chromium}/vk_swiftshader_icd.json`, LD_LIBRARY_PATH: chromium }
  : {};

describe.skipIf(deno === undefined)("in Deno", () => {
  it("every stage", async () => {
    const folder = await mkdtemp(join(tmpdir(), "rlhf-deno-"));
    try {
      const run = `
{
  const found = {};
  const adapter = await navigator.gpu?.requestAdapter();
  for (const name of adapter ? ${JSON.stringify(stageNames)} : []) found[name] = await stageMetricsOnWebGpu(name);
  await Deno.writeTextFile("found.json", JSON.stringify(found));
}
Deno.exit();`;
      await writeFile(join(folder, "stages.mjs"), `${await bundleStages("deno")}\n${run}`);
      const env = { ...software, ...process.env };
      await promisify(execFile)(deno!, ["run", "--allow-all", "stages.mjs"], { cwd: folder, env });
      const found: Record<string, OnWebGpu> = JSON.parse(await readFile(join(folder, "found.json"), "utf8"));
      if (Object.keys(found).length === 0) {
        return console.warn("Skipped, Deno finds no adapter: install a Vulkan driver or chromium");
      }
      expect(Object.keys(found)).toEqual(stageNames);
      for (const name of stageNames) await expectCpuMetrics(name, found[name]!);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
