import type { TrainingRollout } from "@rlhf/bandit-env";
import type { Progress } from "@rlhf/core/progress";
import type { RunFolder } from "@rlhf/core/run_folder";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { estimate } from "./estimate.ts";
import { judge } from "./judge.ts";
import { PretrainingBatches, Reference, Scorer } from "./services.ts";
import { type TrainOptions, train } from "./train.ts";
import { update } from "./update.ts";

/** What is left to provide once nothing but progress and the run folder is missing. */
type Ready<A, E> = Effect.Effect<A, E, Progress | RunFolder>;

it("is a compile error to leave a service out, or to pass a record that has not grown far enough", () => {
  const check = (options: TrainOptions, model: Model, score: Scorer["Service"], rollout: TrainingRollout) => {
    const training = train(options);
    const plain = training.pipe(Effect.provideService(PretrainingBatches, PretrainingBatches.none));
    const complete: Ready<unknown, unknown> = plain.pipe(
      Effect.provideService(Reference, model),
      Effect.provideService(Scorer, score),
    );
    // @ts-expect-error no Scorer
    const unscored: Ready<unknown, unknown> = plain.pipe(Effect.provideService(Reference, model));
    // @ts-expect-error no Reference
    const unanchored: Ready<unknown, unknown> = plain.pipe(Effect.provideService(Scorer, score));
    // @ts-expect-error rewards come from judge
    const early = estimate(rollout);
    // @ts-expect-error advantages come from estimate
    const earlier = Effect.flatMap(judge(rollout), (judged) => update(judged));
    const inOrder = judge(rollout).pipe(Effect.flatMap(estimate), Effect.flatMap(update));
    return { complete, unscored, unanchored, early, earlier, inOrder };
  };
  expect(check).toBeTypeOf("function");
});
