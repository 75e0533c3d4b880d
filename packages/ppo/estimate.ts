import { inParts, type Responses, responseValues, scopedTensors } from "@rlhf/bandit-env";
import { maskedWhiten } from "@rlhf/tensor";
import type * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { explainedVariance } from "./explained_variance.ts";
import { gae } from "./gae.ts";
import type { Rewards } from "./judge.ts";
import { Learner } from "./services.ts";

/** What {@link estimate} adds to a judged rollout, all `[batch, response]`. */
export interface Estimates {
  /** V before the update. */
  readonly values: tf.Tensor2D;
  /** Whitened over the batch's tokens, mean 0. */
  readonly advantages: tf.Tensor2D;
  readonly returns: tf.Tensor2D;
  readonly explainedVariance: number;
}

/** Values from the value network, then advantages and returns; the advantages are whitened, after the returns are taken. */
export const estimate = Effect.fn("ppo.estimate")(function* <T extends Responses & Pick<Rewards, "rewards">>(
  judged: T,
) {
  const { config, state } = yield* Learner;
  const { critic } = yield* Ref.get(state);
  const { gamma, lambda, whitenRewards, microBatchSize } = config;
  const { mask } = judged;
  const { explained, ...estimates } = yield* scopedTensors(() => {
    const { values } = inParts(judged, microBatchSize, (part) => ({
      values: responseValues(critic, part),
    }));
    const rewards = whitenRewards ? maskedWhiten(judged.rewards, mask, { center: false }) : judged.rewards;
    const { advantages, returns } = gae({ rewards, values, mask, gamma, lambda });
    return {
      values,
      advantages: maskedWhiten(advantages, mask, { center: true }),
      returns,
      explained: explainedVariance({ values, returns, mask }),
    };
  });
  const [explainedVarianceRead] = yield* Effect.promise(() => explained.data());
  const added: Estimates = { ...estimates, explainedVariance: explainedVarianceRead! };
  return { ...judged, ...added };
});
