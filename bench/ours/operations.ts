/**
 * Every fused operation, with its gradients, on plain JavaScript kernels and on the backend that is measured: how far
 * apart they are. Where it rounds to bf16 a single number may cancel, so outputs are compared as a whole.
 */
import type { BackendName } from "@rlhf/tensor/backend";
import { fusedCases } from "@rlhf/tensor/testing/fused_cases";
import { largestDifference, relativeError, runOn } from "@rlhf/tensor/testing/run_on";
import { takeTurns, task } from "./turns.ts";

const gapOf = task.precision === "bf16" ? relativeError : largestDifference;

/** By operation the largest difference in any of its cases. */
await takeTurns(async () => {
  const gaps: Record<string, number> = {};
  for (const { kernel, inputs, operation } of fusedCases) {
    const name = kernel.replace("Rlhf", "");
    const expected = await runOn("cpu", inputs, operation);
    const found = await runOn(task.backend as BackendName, inputs, operation);
    // JSON knows no infinity.
    gaps[name] = Math.max(gaps[name] ?? 0, Math.min(gapOf(found, expected), Number.MAX_VALUE));
  }
  return gaps;
});
