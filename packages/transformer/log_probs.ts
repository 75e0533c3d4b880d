import { linearTokenLogProbs } from "@rlhf/tensor/linear_token_log_probs";
import * as tf from "@tensorflow/tfjs-core";
import { prediction } from "./_prediction.ts";
import { shiftLeft, shiftRight } from "./_shift.ts";
import type { Sequences } from "./batch.ts";
import { type ForwardOptions, hiddenStates } from "./hidden_states.ts";
import { isCausal } from "./is_causal.ts";
import type { Model } from "./model.ts";

export interface LogProbsOptions extends ForwardOptions {
  /** The logits are divided by it: that of the sampler, wherever its samples are judged. 1 by default. */
  readonly temperature?: number;
}

/** Both tensors are `[batch, time]`; the entropy is in nats and carries no gradient. */
export type TokenLogProbs = {
  readonly logProbs: tf.Tensor2D;
  readonly entropy: tf.Tensor2D;
};

/**
 * Entry t of `logProbs` is log p(idsₜ | ids of the same segment before t), and of `entropy` the entropy of that
 * distribution. Both are 0 where there is nothing before: at the first token of a segment and at padding.
 * The unembedding works through tokens in chunks, so no tensor of `[batch · time, vocab]` exists.
 */
export function nextTokenLogProbs(
  model: Model,
  batch: Sequences,
  options: LogProbsOptions = {},
): TokenLogProbs {
  if (!isCausal(model.config)) {
    throw new RangeError(
      `Cannot predict next tokens: a causal model is required, got ${model.config.architecture}`,
    );
  }
  return tf.tidy(() => {
    const hidden = hiddenStates(model, batch, options);
    const { logProbs, entropy } = judge(model, hidden, shiftLeft(batch.ids), options.temperature);
    const counts = hasPredecessor(batch.segments);
    return {
      logProbs: tf.mul(shiftRight(logProbs), counts),
      entropy: tf.mul(shiftRight(entropy), counts),
    };
  });
}

/**
 * Entry t is log p(targetsₜ | the whole segment), for a `masked-lm` or `bert` whose `batch.ids` had some tokens masked.
 *
 * @param targets the tokens before masking, int32 `[batch, time]`
 */
export function maskedTokenLogProbs(
  model: Model,
  batch: Sequences,
  targets: tf.Tensor2D,
  options: ForwardOptions = {},
): TokenLogProbs {
  return tf.tidy(() => judge(model, hiddenStates(model, batch, options), targets, 1));
}

function judge(model: Model, hidden: tf.Tensor3D, targets: tf.Tensor2D, temperature = 1): TokenLogProbs {
  const [batch, time] = hidden.shape;
  const { rows, unembedding } = prediction(model, hidden);
  const ids: tf.Tensor1D = tf.reshape(targets, [batch * time]);
  const { logProbs, entropy } = linearTokenLogProbs(rows, unembedding, ids, { temperature });
  return {
    logProbs: tf.reshape(logProbs, [batch, time]),
    entropy: tf.reshape(entropy, [batch, time]),
  };
}

/** 1 where the token before belongs to the same segment, 0 elsewhere and at padding. */
function hasPredecessor(segments: tf.Tensor2D): tf.Tensor2D {
  const same: tf.Tensor2D = tf.equal(segments, shiftRight(segments));
  return tf.cast(tf.logicalAnd(same, tf.greater(segments, 0)), "float32");
}
