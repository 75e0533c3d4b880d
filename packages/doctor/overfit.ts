import type { Key } from "@rlhf/core/random";
import type { EncodedRanking } from "@rlhf/core/records";
import { overfitCheck } from "@rlhf/reward";
import type { Model } from "@rlhf/transformer";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import type { Finding } from "./finding.ts";

const seconds = 30;

/** Whether a reward model made of this model can learn 20 pairs by heart, as `overfitCheck` says. */
export const overfit = Effect.fn("doctor.overfit")(function* (
  policy: Model,
  rankings: ReadonlyArray<EncodedRanking>,
  key: Key,
) {
  const result = yield* Effect.timeoutOption(
    overfitCheck({ policy, rankings, key }),
    Duration.seconds(seconds),
  );
  const finding: Finding = {
    check: "overfit 20 pairs",
    passed: Option.isSome(result) && result.value.learned,
    found: Option.match(result, {
      onNone: () => `not learned within ${seconds} seconds`,
      onSome: ({ learned, steps, accuracy, loss }) =>
        `${learned ? "learned" : "not learned"} in ${steps} steps: accuracy ${accuracy.toFixed(2)}, loss ${loss.toFixed(3)}`,
    }),
    remedy:
      "look for pairs whose responses are equal, texts cut before they differ, or a learning rate far off",
  };
  return finding;
});
