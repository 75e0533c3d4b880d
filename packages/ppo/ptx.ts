import type { TokenBatch } from "@rlhf/data/token_batch";
import type { LossWithMetrics } from "@rlhf/optim";
import { maskedMean } from "@rlhf/tensor";
import { type Model, nextTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/**
 * The pretraining term of PPO-ptx (Ouyang et al. 2022, equation 2), one loss for each micro-batch of rows:
 *
 *     loss = −γ_ptx · mean over tokens of log π(token | text before it)
 *
 * The denominator is the number of target tokens in the whole batch, so the parts add up to the mean. They are meant
 * to be accumulated with PPO's loss into one optimizer step: Adam divides by the gradient's own scale, so a step
 * of their own would make γ_ptx meaningless. The metric `ptxLoss` is the loss without the coefficient.
 */
export function ptxLosses(
  policy: Model,
  text: TokenBatch,
  options: { readonly coefficient: number; readonly microBatchSize: number },
): Array<() => LossWithMetrics> {
  const denominator = text.lossMask.reduce((sum, counts) => sum + counts, 0);
  return microBatches(text, options.microBatchSize).map((part) => () => {
    const { logProbs } = nextTokenLogProbs(policy, toSequences(part));
    const targets = tf.tensor2d(part.lossMask, [part.batch, part.time]);
    const loss = tf.neg(maskedMean(logProbs, targets, { denominator })) as tf.Scalar;
    return { loss: tf.mul(loss, options.coefficient) as tf.Scalar, metrics: { ptxLoss: loss } };
  });
}

function microBatches(text: TokenBatch, size: number): Array<TokenBatch> {
  const { time } = text;
  return Array.from({ length: Math.ceil(text.batch / size) }, (_, i) => {
    const [from, to] = [i * size, Math.min((i + 1) * size, text.batch)];
    return {
      ids: text.ids.subarray(from * time, to * time),
      segments: text.segments.subarray(from * time, to * time),
      positions: text.positions.subarray(from * time, to * time),
      lossMask: text.lossMask.subarray(from * time, to * time),
      batch: to - from,
      time,
    };
  });
}
