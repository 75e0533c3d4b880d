import { type Responses, responseLogProbs } from "@rlhf/bandit-env";
import type { LossWithMetrics } from "@rlhf/optim";
import { rankedPairs } from "@rlhf/reward/ranking_loss";
import type { Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import type { PreferenceLoss } from "./config.ts";
import { dpoLoss } from "./dpo_loss.ts";
import { implicitLead, type PairLogProbs } from "./implicit_lead.ts";
import { ipoLoss } from "./ipo_loss.ts";
import { ktoLoss } from "./kto_loss.ts";
import { orpoLoss } from "./orpo_loss.ts";
import { robustDpoLoss } from "./robust_dpo_loss.ts";
import { simpoLoss } from "./simpo_loss.ts";

/** The responses to some prompts, all of a prompt side by side, and everybody's rankings of them. */
export interface RankedResponses extends Responses {
  /** log π₀ of each response, summed over its tokens, `[responses]`. */
  readonly refLogProbs: tf.Tensor1D;
  /** For each prompt its rankings, each of one rank per response: 1 is best, equal ranks are a tie. */
  readonly rankings: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>;
}

/**
 * The loss on a micro-batch of ranked responses, forward pass included: one pass for each response, however many pairs it
 * is in and however many people ranked it. Every prompt counts the same, and so does every decided pair of a prompt (as in the K-wise loss of reward models,
 * Ouyang et al. 2022). Ties are dropped.
 *
 * The metrics are means over the pairs: `accuracy`, the share whose preferred response has the higher implicit
 * reward log π/π₀, and `chosenReward` and `rejectedReward`, without β.
 *
 * @param options.share of the batch's prompts that are in this micro-batch: the parts add up
 * @param options.kl z of KTO
 */
export function preferenceObjective(
  policy: Model,
  batch: RankedResponses,
  options: {
    readonly loss: PreferenceLoss;
    readonly temperature: number;
    readonly share: number;
    readonly kl: number;
  },
): LossWithMetrics {
  const { mask, refLogProbs: ref } = batch;
  const { winners, losers, weights } = rankedPairs(batch.rankings);
  const sums = tf.sum(responseLogProbs(policy, batch, options).logProbs, 1) as tf.Tensor1D;
  const lengths = tf.sum(mask, 1);
  const pick = (from: tf.Tensor, members: Int32Array) =>
    tf.gather(from, tf.tensor1d(members, "int32")) as tf.Tensor1D;
  const pairsOf = (policySide: tf.Tensor, reference: tf.Tensor): PairLogProbs => ({
    chosen: pick(policySide, winners),
    rejected: pick(policySide, losers),
    refChosen: pick(reference, winners),
    refRejected: pick(reference, losers),
  });
  const summed = pairsOf(sums, ref);
  const means = pairsOf(tf.div(sums, lengths), tf.div(ref, lengths));
  const mean = (ofPair: tf.Tensor) =>
    tf.mul(tf.sum(tf.mul(ofPair, tf.tensor1d(weights))), options.share) as tf.Scalar;
  return {
    loss: mean(lossOfPairs(options.loss, { summed, means, kl: options.kl })),
    metrics: {
      accuracy: mean(tf.cast(tf.greater(implicitLead(summed), 0), "float32")),
      chosenReward: mean(tf.sub(summed.chosen, summed.refChosen)),
      rejectedReward: mean(tf.sub(summed.rejected, summed.refRejected)),
    },
  };
}

/** The loss of each pair, from log-probabilities as sums and as means over tokens. */
function lossOfPairs(
  loss: PreferenceLoss,
  { summed, means, kl }: { readonly summed: PairLogProbs; readonly means: PairLogProbs; readonly kl: number },
): tf.Tensor1D {
  switch (loss._tag) {
    case "Dpo":
      return dpoLoss(summed, loss);
    case "RobustDpo":
      return robustDpoLoss(summed, loss);
    case "Ipo":
      return ipoLoss(means, loss);
    case "Orpo":
      return orpoLoss({ ...means, ...loss });
    case "Simpo":
      return simpoLoss({ ...means, ...loss });
    case "Kto": {
      // Both responses of a pair are judged by themselves; the pair's loss is their mean.
      const side = (logProbs: tf.Tensor1D, refLogProbs: tf.Tensor1D, desirable: 0 | 1) =>
        ktoLoss({
          logProbs,
          refLogProbs,
          desirable: tf.fill(logProbs.shape, desirable) as tf.Tensor1D,
          kl,
          ...loss,
        });
      const chosen = side(summed.chosen, summed.refChosen, 1);
      return tf.div(tf.add(chosen, side(summed.rejected, summed.refRejected, 0)), 2) as tf.Tensor1D;
    }
  }
}
