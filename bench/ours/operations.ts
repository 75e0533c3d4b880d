/**
 * Every fused operation, with its gradients, and tfjs's own, on plain JavaScript kernels and on the backend that is
 * measured: how far apart they are. Where it rounds to bf16 a single number may cancel, so outputs are compared as a whole.
 */
import type { BackendName } from "@rlhf/tensor/backend";
import { fusedCases } from "@rlhf/tensor/testing/fused_cases";
import { plainCases } from "@rlhf/tensor/testing/plain_cases";
import { largestDifference, relativeError, runOn } from "@rlhf/tensor/testing/run_on";
import * as tf from "@tensorflow/tfjs-core";
import { takeTurns, task } from "./turns.ts";

const rounded = task.precision === "bf16";
const gapOf = rounded ? relativeError : largestDifference;
/** On webgpu nearly all of these are tfjs's own kernels; what bf16 rounds, the fused ones show. */
const plain = rounded || tf.getBackend() === "webgpu" ? [] : plainCases;
const cases = [
  ...fusedCases.map((fused) => ({ ...fused, row: fused.kernel.replace("Rlhf", "") })),
  ...plain.map((one) => ({ ...one, row: one.group })),
];

/** By row the largest difference in any of its cases. */
await takeTurns(async () => {
  const gaps: Record<string, number> = {};
  for (const { row, inputs, operation } of cases) {
    const expected = await runOn("cpu", inputs, operation);
    const found = await runOn(task.backend as BackendName, inputs, operation);
    // JSON knows no infinity.
    gaps[row] = Math.max(gaps[row] ?? 0, Math.min(gapOf(found, expected), Number.MAX_VALUE));
  }
  return gaps;
});
