/** Every fused operation, with its gradients, on plain JavaScript kernels and on the backend that is measured: how far apart they are. */
import type { BackendName } from "@rlhf/tensor/backend";
import { fusedCases } from "@rlhf/tensor/testing/fused_cases";
import { largestDifference, runOn } from "@rlhf/tensor/testing/run_on";
import { takeTurns, task } from "./turns.ts";

/** By operation the largest difference in any of its cases. */
await takeTurns(async () => {
  const gaps: Record<string, number> = {};
  for (const { kernel, inputs, operation } of fusedCases) {
    const name = kernel.replace("Rlhf", "");
    const expected = await runOn("cpu", inputs, operation);
    const found = await runOn(task.backend as BackendName, inputs, operation);
    // JSON knows no infinity.
    gaps[name] = Math.max(gaps[name] ?? 0, Math.min(largestDifference(found, expected), Number.MAX_VALUE));
  }
  return gaps;
});
