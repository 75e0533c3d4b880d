/** Each step of every stage, on plain JavaScript kernels and on the backend that is measured: how far apart what they report is. */
import { stageMetrics, stageNames } from "@rlhf/backend-webgpu/testing/stage_metrics";
import { type BackendName, useBackend } from "@rlhf/tensor/backend";
import { takeTurns, task } from "./turns.ts";

/** By stage the largest difference of a metric, of its size where that is above 1. */
await takeTurns(async () => {
  const gaps: Record<string, number> = {};
  for (const name of stageNames) {
    await useBackend("cpu");
    const expected = await stageMetrics(name);
    await useBackend(task.backend as BackendName);
    const found = await stageMetrics(name);
    const differences = expected.flatMap((metrics, step) =>
      Object.entries(metrics).map(
        ([metric, value]) =>
          Math.abs((found[step]?.[metric] ?? Number.NaN) - value) / Math.max(1, Math.abs(value)),
      ),
    );
    // A number that is missing is no small difference; JSON knows no infinity.
    gaps[name] = differences.some(Number.isNaN) ? Number.MAX_VALUE : Math.max(...differences);
  }
  return gaps;
});
