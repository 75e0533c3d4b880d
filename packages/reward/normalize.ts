import type { EncodedDemonstration } from "@rlhf/core/records";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { type RewardModel, score } from "./score.ts";

/**
 * Shifts the head's bias so that demonstrations score 0 on average: `b ← b − mean r(demonstrations)`. The ranking loss leaves
 * this constant free; fixing it makes scores of different runs comparable and gives reinforcement learning a
 * baseline (Stiennon et al. 2020, arXiv:2009.01325, section 3.4; Ouyang et al. 2022, section 3.5).
 *
 * @returns the mean score of the demonstrations before
 */
export const normalizeScores = Effect.fn("reward.normalize")(function* (
  model: RewardModel,
  demonstrations: ReadonlyArray<EncodedDemonstration>,
) {
  const scores = yield* score(
    model,
    demonstrations.map(({ prompt, response }) => [...prompt, ...response]),
  );
  const mean = scores.reduce((sum, x) => sum + x, 0) / scores.length;
  tf.tidy(() => model.head.bias.assign(tf.sub(model.head.bias, mean)));
  return mean;
});
