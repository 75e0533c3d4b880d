import { NonFiniteLoss } from "@rlhf/core/errors";
import { Progress } from "@rlhf/core/progress";
import { RunFolder } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";

/** What one step of a {@link trainLoop} reports: numbers to publish, and the tokens it worked through. */
export interface StepReport {
  readonly metrics: Readonly<Record<string, number>>;
  readonly tokens: number;
}

/**
 * Runs `steps` optimizer steps and tells the run folder and `Progress` about each. `step` gets 0 … steps − 1 and is
 * never interrupted half-way; between steps the event loop runs, so Ctrl-C takes effect after the current one.
 *
 * Fails with `NonFiniteLoss` at the first metric that is NaN or infinite. The result is the metrics of
 * the last step.
 */
export const trainLoop = Effect.fn("optim.trainLoop")(function* <E, R>(options: {
  readonly stage: string;
  readonly steps: number;
  readonly step: (index: number) => Effect.Effect<StepReport, E, R>;
}) {
  const { stage, steps } = options;
  const progress = yield* Progress;
  const folder = yield* RunFolder;
  let metrics: StepReport["metrics"] = {};
  yield* progress.publish({ _tag: "Started", stage, total: steps, unit: "step" });
  for (let index = 0; index < steps; index++) {
    const report = yield* Effect.uninterruptible(options.step(index));
    metrics = report.metrics;
    const step = index + 1;
    for (const [metric, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) return yield* new NonFiniteLoss({ stage, step, metric, value });
    }
    yield* folder.appendMetrics(stage, step, metrics);
    yield* progress.publish({ _tag: "Step", stage, step, total: steps, metrics, tokens: report.tokens });
    yield* Effect.yieldNow; // to timers, signals and sockets: the math above was synchronous
  }
  yield* progress.publish({ _tag: "Finished", stage, metrics });
  return metrics;
});
