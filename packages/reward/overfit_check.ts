import { fold, type Key } from "@rlhf/core/random";
import type { EncodedRanking } from "@rlhf/core/records";
import { disposeAdamw, initAdamw, trainStep } from "@rlhf/optim";
import { cloneModel, disposeScalarModel, initScalarModel, type Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { decidedPairs } from "./decided_pairs.ts";
import type { RankedAnswers } from "./ranked_answers.ts";
import { rankingObjective } from "./train.ts";

export interface OverfitCheck {
  /** Whether every pair was ordered right at some step. */
  readonly learned: boolean;
  /** Optimizer steps made. */
  readonly steps: number;
  /** Share of the pairs ordered right, and loss, before the last of these steps. */
  readonly accuracy: number;
  readonly loss: number;
}

/**
 * Self-test before a long run: can a reward model learn 20 pairs by heart? One that cannot has a broken head, wrong padding, a
 * frozen backbone or a learning rate that is far off. Works on a copy and throws it away.
 *
 * @param rankings each gives its first decided pair, until there are 20
 * @param learningRate constant; higher than for real training
 * @param maxSteps when to give up
 */
export const overfitCheck = Effect.fn("reward.overfitCheck")(
  ({
    policy,
    rankings,
    key,
    learningRate = 1e-3,
    maxSteps = 100,
  }: {
    readonly policy: Model;
    readonly rankings: ReadonlyArray<EncodedRanking>;
    readonly key: Key;
    readonly learningRate?: number;
    readonly maxSteps?: number;
  }) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const model = initScalarModel(cloneModel(policy), fold(key, "head"));
        return { model, state: initAdamw(model.params) };
      }),
      Effect.fnUntraced(function* ({ model, state }) {
        const pairs = rankings.flatMap(firstPair).slice(0, 20);
        let result: OverfitCheck = { learned: false, steps: 0, accuracy: 0, loss: Number.POSITIVE_INFINITY };
        while (!result.learned && result.steps < maxSteps) {
          const step = yield* Effect.promise(() =>
            trainStep({
              params: model.params,
              state,
              losses: [rankingObjective(model, pairs, pairs.length)],
              learningRate,
              maxGradNorm: 1,
            }),
          );
          const accuracy = step.metrics.accuracy!;
          result = { learned: accuracy > 0.999, steps: result.steps + 1, accuracy, loss: step.loss };
        }
        return result;
      }),
      ({ model, state }) =>
        Effect.sync(() => {
          disposeScalarModel(model);
          disposeAdamw(state);
        }),
    ),
);

/** The first pair of a ranking that is not a tie, as a ranking of two. */
function firstPair({ prompt, responses, ranks }: EncodedRanking): ReadonlyArray<RankedAnswers> {
  return decidedPairs(ranks)
    .slice(0, 1)
    .map(([winner, loser]) => ({
      prompt,
      responses: [responses[winner]!, responses[loser]!],
      rankings: [[1, 2]],
    }));
}
