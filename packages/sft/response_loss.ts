import type { TokenBatch } from "@rlhf/data/token_batch";
import { maskedMean } from "@rlhf/tensor/masked_statistics";
import { type ForwardOptions, type Model, nextTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/**
 * Supervised loss: the mean of `−log p(yₜ | x, y₍<ₜ₎)` over the tokens of the responses y, end-of-sequence included; prompts x
 * are read and not predicted (Ouyang et al. 2022, arXiv:2203.02155, section 3.5).
 *
 * @param batch whose `lossMask` is 1 on the tokens of responses
 * @param tokens the denominator; the batch's own number of response tokens when left out. For a micro-batch: that of the whole batch
 */
export function responseLoss(
  model: Model,
  batch: TokenBatch,
  options: ForwardOptions & { readonly tokens?: number } = {},
): tf.Scalar {
  return tf.tidy(() => {
    const { logProbs } = nextTokenLogProbs(model, toSequences(batch), options);
    const lossMask = tf.tensor2d(batch.lossMask, [batch.batch, batch.time]);
    return tf.neg(maskedMean(logProbs, lossMask, { denominator: options.tokens }));
  });
}

/** How many tokens of these batches are predicted. */
export function responseTokens(batches: ReadonlyArray<TokenBatch>): number {
  return batches.reduce((total, { lossMask }) => total + lossMask.reduce((sum, mask) => sum + mask, 0), 0);
}
