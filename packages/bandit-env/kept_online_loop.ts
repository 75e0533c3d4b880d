import { keepMemory, type Memory } from "@rlhf/optim";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { type OnlineLoopOptions, onlineLoop } from "./online_loop.ts";
import type { OnlineReport } from "./online_report.ts";

/**
 * An {@link onlineLoop} whose state is kept in the run's checkpoints, at the end and when it is interrupted too; a run that goes on
 * starts with the newest put back.
 *
 * @param options.iteration iterations that the state has behind it, also after it was put back
 * @param options.memory all of the state
 */
export const keptOnlineLoop = Effect.fn("bandit-env.keptOnlineLoop")(function* <E, R, AfterE, AfterR>(
  options: Omit<OnlineLoopOptions<E, R, AfterE, AfterR>, "done"> & {
    readonly iteration: Effect.Effect<number>;
    readonly memory: Memory;
  },
) {
  const { stage, iteration, memory, klBudget = Number.POSITIVE_INFINITY, ...loop } = options;
  const kept = yield* keepMemory(stage, memory);
  const metrics = yield* Ref.make(kept.metrics);
  const isSpent = (kept.metrics.kl ?? 0) >= klBudget;
  const save = Effect.flatMap(Effect.all([iteration, Ref.get(metrics)]), ([step, last]) =>
    kept.save(step, last),
  );
  yield* onlineLoop({
    ...loop,
    stage,
    klBudget,
    done: yield* iteration,
    iterations: isSpent ? kept.step : loop.iterations,
    // Between two iterations, while it samples and while it waits for scores: there the state is whole.
    step: (prompts) => Effect.andThen(Effect.interruptible(Effect.yieldNow), loop.step(prompts)),
    afterIteration: Effect.fnUntraced(function* (report: OnlineReport) {
      yield* Ref.set(metrics, report.metrics);
      yield* loop.afterIteration(report);
      yield* kept.saveWhenDue(yield* iteration, report.metrics);
    }),
  }).pipe(
    Effect.uninterruptible,
    Effect.onInterrupt(() => Effect.ignore(save)),
  );
  yield* save;
});
