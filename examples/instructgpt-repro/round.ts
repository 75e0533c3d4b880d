import { Checkpoints, Progress, type ProgressEvent, RunFolder } from "@rlhf/core";
import { Effect } from "effect";

/** Names the stages of a later round apart: "reward (round 2)". */
export const inRound =
  (round: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Progress | RunFolder> =>
    Effect.gen(function* () {
      if (round === 1) return yield* effect;
      const progress = yield* Progress;
      const folder = yield* RunFolder;
      const name = (stage: string) => `${stage} (round ${round})`;
      return yield* effect.pipe(
        Effect.provideService(Progress, {
          ...progress,
          publish: (event: ProgressEvent) => progress.publish({ ...event, stage: name(event.stage) }),
        }),
        Effect.provideService(Checkpoints, (yield* Checkpoints).within(`round ${round}`)),
        Effect.provideService(RunFolder, {
          ...folder,
          appendMetrics: (stage, step, metrics) => folder.appendMetrics(name(stage), step, metrics),
          appendWarning: (stage, step, warning) => folder.appendWarning(name(stage), step, warning),
        }),
      );
    });
