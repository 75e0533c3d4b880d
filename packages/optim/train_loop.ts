import { Progress } from "@rlhf/core/progress";
import { requireFinite } from "@rlhf/core/require_finite";
import { RunFolder } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";
import { keepMemory, type Memory } from "./memory.ts";

/** What one step of a {@link trainLoop} reports: numbers to publish, and the tokens it worked through. */
export interface StepReport {
  readonly metrics: Readonly<Record<string, number>>;
  readonly tokens: number;
}

/**
 * Runs `steps` optimizer steps and tells the run folder and `Progress` about each. `step` gets 0 … steps − 1 and is
 * never interrupted half-way; between steps the event loop runs, so Ctrl-C takes effect after the current one.
 *
 * With a `memory` the loop keeps it in the run's checkpoints, at the end and when it is interrupted too, and goes on
 * from there: `step` gets the numbers of the steps that are left. Without one a run that goes on begins the loop again.
 *
 * Fails with `NonFiniteLoss` at the first metric that is NaN or infinite. The result is the metrics of
 * the last step.
 */
export const trainLoop = Effect.fn("optim.trainLoop")(function* <E, R>(options: {
  readonly stage: string;
  readonly steps: number;
  readonly step: (index: number) => Effect.Effect<StepReport, E, R>;
  readonly memory?: Memory;
}) {
  const { stage, steps } = options;
  const progress = yield* Progress;
  const folder = yield* RunFolder;
  const kept = yield* keepMemory(stage, options.memory);
  let { step: done, metrics } = kept;
  yield* progress.publish({ _tag: "Started", stage, total: steps, unit: "steps" });
  if (done > 0) {
    yield* progress.publish({ _tag: "Note", stage, message: `Going on after step ${done} of ${steps}` });
  }
  const advance = Effect.gen(function* () {
    const report = yield* options.step(done);
    const step = done + 1;
    yield* requireFinite({ stage, step }, report.metrics);
    ({ metrics } = report);
    yield* folder.appendMetrics(stage, step, metrics);
    done = step;
    yield* progress.publish({ _tag: "Step", stage, step, total: steps, metrics, tokens: report.tokens });
    yield* kept.saveWhenDue(done, metrics);
  });
  const run = Effect.gen(function* () {
    while (done < steps) {
      yield* Effect.uninterruptible(advance);
      yield* Effect.yieldNow; // to timers, signals and sockets: the math above was synchronous
    }
  });
  yield* Effect.onInterrupt(run, () => Effect.ignore(kept.save(done, metrics)));
  yield* kept.save(done, metrics);
  yield* progress.publish({ _tag: "Finished", stage, metrics });
  return metrics;
});
