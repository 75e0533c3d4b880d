import { isBuiltin } from "node:module";
import { join } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { expect } from "vitest";
import { useBackend } from "../../tensor/backend.ts";
import { stageMetrics } from "./stage_metrics.ts";

/** What `stageMetricsOnWebGpu` of the bundle answers with. */
export interface OnWebGpu {
  readonly reason: string;
  readonly metrics: Awaited<ReturnType<typeof stageMetrics>>;
  readonly leaked: number;
}

/** Node's own modules are empty: what asks for them is not used here. */
const withoutNode: Plugin = {
  name: "without Node",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^[\w:/]+$/ }, ({ path }) =>
      isBuiltin(path) ? { path, namespace: "absent" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "absent" }, () => ({ contents: "module.exports = {};" }));
  },
};

/** How to bundle for browsers, and for Deno, which tfjs takes for Node. */
const settings = {
  browser: { platform: "browser", plugins: [withoutNode] },
  deno: {
    platform: "node",
    external: ["webgpu"],
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
  },
} satisfies Record<string, BuildOptions>;

/** A module for platforms with WebGPU of their own: it leaves `stageMetricsOnWebGpu` on `globalThis`. */
export async function bundleStages(platform: keyof typeof settings): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "stage_metrics_page.ts")],
    bundle: true,
    write: false,
    format: "esm",
    logLevel: "error",
    ...settings[platform],
  });
  return outputFiles![0]!.text;
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
