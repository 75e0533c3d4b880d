import { fold, type Key, Progress } from "@rlhf/core";
import { type RewardModel, score } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import { disposeModel, type Model } from "@rlhf/transformer";
import { Effect } from "effect";
import { answer } from "./answer.ts";
import type { Config } from "./config.ts";
import type { EncodedData } from "./encode.ts";

/**
 * The epoch whose answers to validation prompts the reward model likes best: InstructGPT chose its supervised model so,
 * because human preference goes on rising after validation loss has begun to overfit.
 */
export const chooseByReward = Effect.fn("chooseByReward")(function* <E, R>(input: {
  /** Read one after the other, for all of them together may not fit into memory. */
  readonly candidates: ReadonlyArray<Effect.Effect<Model, E, R>>;
  readonly rewardModel: RewardModel;
  readonly encoded: EncodedData;
  readonly tokenizer: Tokenizer;
  readonly config: Config;
  readonly key: Key;
}) {
  const { candidates, rewardModel, encoded, config, key } = input;
  if (candidates.length === 1) return yield* candidates[0]!;
  const prompts = encoded.validation.map(({ prompt }) => prompt);
  const means = yield* Effect.forEach(candidates, (candidate) =>
    Effect.gen(function* () {
      const model = yield* Effect.acquireRelease(candidate, (read) => Effect.sync(() => disposeModel(read)));
      const generations = yield* answer(input, {
        stage: "choosing the SFT checkpoint",
        model,
        prompts,
        temperature: config.ppo.temperature,
        key: fold(key, "choose"),
      });
      const scores = yield* score(
        rewardModel,
        generations.map(({ tokens }, i) => [...prompts[i]!, ...tokens]),
      );
      return scores.reduce((sum, value) => sum + value, 0) / scores.length;
    }).pipe(Effect.scoped),
  );
  const best = means.indexOf(Math.max(...means));
  const { publish } = yield* Progress;
  yield* publish({
    _tag: "Note",
    stage: "sft",
    message: `SFT checkpoint: epoch ${best + 1} of ${candidates.length}, by mean reward-model score (${means.map((mean) => mean.toFixed(2)).join(", ")})`,
  });
  return yield* candidates[best]!;
});
