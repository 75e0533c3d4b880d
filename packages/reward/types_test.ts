import type { Progress } from "@rlhf/core/progress";
import type { EncodedDemonstration, Ranking, Response } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import type { Model, ScalarModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { score, scoreEpisodes } from "./score.ts";
import { type TrainRewardInput, trainReward } from "./train.ts";

/** What is left to provide once nothing but progress and the run folder is missing. */
type Ready<A, E> = Effect.Effect<A, E, Progress | RunFolder>;

it("is a compile error to leave a service out, or to pass another kind of record", () => {
  const check = (
    input: TrainRewardInput,
    texts: ReadonlyArray<Ranking>,
    demonstrations: ReadonlyArray<EncodedDemonstration>,
    policy: Model,
    rewardModel: ScalarModel,
    responses: ReadonlyArray<Response>,
  ) => {
    const complete: Ready<{ readonly model: ScalarModel }, unknown> = trainReward(input);
    // @ts-expect-error no Progress
    const unwatched: Effect.Effect<unknown, unknown> = Effect.provide(
      trainReward(input),
      RunFolder.layerMemory,
    );
    // @ts-expect-error rankings in text have to be encoded first
    const unencoded = trainReward({ ...input, rankings: texts });
    // @ts-expect-error demonstrations have no ranks
    const unranked = trainReward({ ...input, rankings: demonstrations });
    // @ts-expect-error a policy does not score
    const scoredByPolicy = score(policy, [[1]]);
    // @ts-expect-error a response alone is no episode: its prompt is missing
    const withoutPrompt = scoreEpisodes(rewardModel)(responses);
    // @ts-expect-error a reward model is no policy; its backbone would be
    const rewardModelAsPolicy: Model = rewardModel;
    return { complete, unwatched, unencoded, unranked, scoredByPolicy, withoutPrompt, rewardModelAsPolicy };
  };
  expect(check).toBeTypeOf("function");
});
