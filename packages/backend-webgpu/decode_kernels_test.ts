/** Ragged decoding with the cache on the GPU against its composed form on the cpu backend. */
import { describe, expect, it } from "vitest";
import { hasFusedKernel } from "../tensor/fused_kernels.ts";
import { decodingCases, tolerance } from "../tensor/testing/fused_cases.ts";
import { expectClose, runOn } from "../tensor/testing/run_on.ts";
import { hasAdapter } from "./testing/software_adapter.ts";

describe.skipIf(!(await hasAdapter()))("decoding as on cpu", () => {
  it.each(decodingCases.slice(0, 2))("$name", async ({ kernel, operation }) => {
    const actual = await runOn("webgpu", [], operation);
    expect(hasFusedKernel(kernel)).toBe(true);
    expectClose(actual, await runOn("cpu", [], operation), tolerance);
  });
});
