import * as banditEnv from "@rlhf/bandit-env";
import { penalizedRewards } from "@rlhf/kl";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { stageName } from "./config.ts";
import { Learner, Reference, Scorer } from "./services.ts";

/** What {@link judge} adds to a rollout. */
export interface Rewards extends banditEnv.Verdicts, banditEnv.ReferenceKl {
  /** Per token, after the KL penalty, `[batch, response]`. */
  readonly rewards: tf.Tensor2D;
}

/** Scores the responses, and rewards every token with −β times its KL to the reference, the last one with the score too. */
export const judge = Effect.fn("ppo.judge")(function* <T extends banditEnv.Rollout>(rollout: T) {
  const { config, state } = yield* Learner;
  const reference = yield* Reference;
  const score = yield* Scorer;
  const { iteration, klController } = yield* Ref.get(state);
  const judged = yield* Effect.interruptible(
    banditEnv.judge(rollout, { score, missingEosPenalty: config.missingEosPenalty }),
  );
  yield* banditEnv.requireFiniteScores(judged.scores, { stage: stageName(config), step: iteration + 1 });
  const compared = yield* banditEnv.compareToReference(judged, { reference, ...config });
  const { mask, oldLogProbs: logProbs, refLogProbs, scores } = compared;
  const { rewards } = yield* banditEnv.scopedTensors(() => ({
    rewards: penalizedRewards({
      logProbs,
      refLogProbs,
      scores: tf.tensor1d(scores),
      mask,
      klCoefficient: klController.coefficient,
    }),
  }));
  return { ...compared, rewards };
});
