import type { TokenBatch } from "@rlhf/data/token_batch";
import * as tf from "@tensorflow/tfjs-core";
import { nextTokenLoss } from "./next_token.ts";

/** A batch, and how to get the `[batch, time]` log-probabilities of the tokens that its `lossMask` marks. */
export interface Prediction {
  readonly batch: TokenBatch;
  readonly logProbs: () => tf.Tensor2D;
}

/** The predicted tokens of all batches together. */
export function countTokens(predictions: ReadonlyArray<Prediction>): number {
  return predictions.reduce(
    (total, { batch }) => total + batch.lossMask.reduce((sum, mask) => sum + mask, 0),
    0,
  );
}

/** One summand per batch; together the mean over the tokens of all batches. */
export function lossesOf(predictions: ReadonlyArray<Prediction>): ReadonlyArray<() => tf.Scalar> {
  const tokens = countTokens(predictions);
  return predictions.map(({ batch, logProbs }) => () => {
    const lossMask = tf.tensor2d(batch.lossMask, [batch.batch, batch.time]);
    return nextTokenLoss({ logProbs: logProbs(), lossMask, tokens });
  });
}
