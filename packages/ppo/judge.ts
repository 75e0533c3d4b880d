import * as banditEnv from "@rlhf/bandit-env";
import { inParts, responseLogProbs, scopedTensors } from "@rlhf/bandit-env";
import { NonFiniteLoss } from "@rlhf/core/errors";
import { k1, penalizedRewards } from "@rlhf/kl";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { stageName } from "./config.ts";
import { Learner, Reference, Scorer } from "./services.ts";

/** What {@link judge} adds to a rollout. */
export interface Rewards extends banditEnv.Verdicts {
  /** log π₀ of every response token, `[batch, response]`. */
  readonly refLogProbs: tf.Tensor2D;
  /** Per token, after the KL penalty, `[batch, response]`. */
  readonly rewards: tf.Tensor2D;
  /** KL to the reference of each sequence, summed over its tokens (k1, may be negative), in nats. */
  readonly sequenceKl: Float32Array;
  /** Mean of `sequenceKl`. */
  readonly meanKl: number;
}

/** Scores the responses, and rewards every token with −β times its KL to the reference, the last one with the score too. */
export const judge = Effect.fn("ppo.judge")(function* <T extends banditEnv.Rollout>(rollout: T) {
  const { config, state } = yield* Learner;
  const reference = yield* Reference;
  const score = yield* Scorer;
  const { iteration, klController } = yield* Ref.get(state);
  const { mask, oldLogProbs: logProbs } = rollout;
  const judged = yield* Effect.interruptible(
    banditEnv.judge(rollout, { score, missingEosPenalty: config.missingEosPenalty }),
  );
  const value = judged.scores.find((score) => !Number.isFinite(score));
  if (value !== undefined) {
    const stage = stageName(config);
    return yield* new NonFiniteLoss({ stage, step: iteration + 1, metric: "score", value });
  }
  const { refLogProbs, rewards, kl } = yield* scopedTensors(() => {
    const { refLogProbs } = inParts(rollout, config.microBatchSize, (part) => ({
      refLogProbs: responseLogProbs(reference, part, config).logProbs,
    }));
    const rewards = penalizedRewards({
      logProbs,
      refLogProbs,
      scores: tf.tensor1d(judged.scores),
      mask,
      klCoefficient: klController.coefficient,
    });
    const kl = tf.sum(tf.mul(k1({ logProbs, refLogProbs }), mask), 1);
    return { refLogProbs, rewards, kl };
  });
  const sequenceKl = Float32Array.from(yield* Effect.promise(() => kl.data()));
  const added: Rewards = {
    scores: judged.scores,
    refLogProbs,
    rewards,
    sequenceKl,
    meanKl: sequenceKl.reduce((sum, value) => sum + value, 0) / sequenceKl.length,
  };
  return { ...rollout, ...added };
});
