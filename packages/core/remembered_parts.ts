import * as Effect from "effect/Effect";
import { Checkpoints } from "./checkpoints.ts";

/**
 * Works through items some at a time and remembers the results in the run's checkpoints: a run that goes on does the
 * rest. For work that is not training, such as collecting comparisons; results must survive JSON.
 *
 * @param run gets the next items and the index of the first; for the same it must give the same
 */
export const rememberedParts = Effect.fn("core.rememberedParts")(function* <A, B, E, R>(options: {
  readonly stage: string;
  readonly items: ReadonlyArray<A>;
  readonly size: number;
  readonly run: (part: ReadonlyArray<A>, first: number) => Effect.Effect<ReadonlyArray<B>, E, R>;
}) {
  const { stage, items, size, run } = options;
  const checkpoints = yield* Checkpoints;
  const stored = yield* checkpoints.load(stage);
  const results: Array<B> = stored === undefined ? [] : [...(stored.values as ReadonlyArray<B>)];
  let done = stored?.step ?? 0;
  const save = Effect.suspend(() => checkpoints.save(stage, { step: done, values: results, arrays: {} }));
  const work = Effect.gen(function* () {
    while (done < items.length) {
      const part = items.slice(done, done + size);
      results.push(...(yield* run(part, done)));
      done += part.length;
      if (checkpoints.isDue()) yield* save;
      yield* Effect.yieldNow; // to timers, signals and sockets
    }
  });
  yield* Effect.onInterrupt(work, () => Effect.ignore(save));
  yield* save;
  return results as ReadonlyArray<B>;
});
