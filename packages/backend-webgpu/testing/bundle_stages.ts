import { join } from "node:path";
import { build } from "esbuild";
import { expect } from "vitest";
import { useBackend } from "../../tensor/backend.ts";
import { stageMetrics } from "./stage_metrics.ts";

/** What `stageMetricsOnWebGpu` of the bundle answers with. */
export interface OnWebGpu {
  readonly reason: string;
  readonly metrics: Awaited<ReturnType<typeof stageMetrics>>;
  readonly leaked: number;
}

/** A module for platforms with WebGPU of their own: it leaves `stageMetricsOnWebGpu` on `globalThis`. */
export async function bundleStages(): Promise<string> {
  const bundled = await build({
    entryPoints: [join(import.meta.dirname, "stage_metrics_page.ts")],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    logLevel: "error",
  });
  return bundled.outputFiles[0]!.text;
}

/** It ran on WebGPU, left no tensor behind, and reports what the cpu backend reports. */
export async function expectCpuMetrics(name: string, { reason, metrics, leaked }: OnWebGpu): Promise<void> {
  expect(reason).toContain("WebGPU on");
  expect(leaked).toBe(0);
  await useBackend("cpu");
  const expected = await stageMetrics(name);
  expect(metrics.length).toBe(expected.length);
  for (const [step, values] of expected.entries()) {
    for (const [metric, value] of Object.entries(values)) {
      expect(metrics[step]![metric], `${metric} of step ${step}`).toBeCloseTo(value, 3);
    }
  }
}
