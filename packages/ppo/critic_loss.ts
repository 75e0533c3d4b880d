import { type Responses, responseValues } from "@rlhf/bandit-env";
import type { LossWithMetrics } from "@rlhf/optim";
import type { ScalarModel } from "@rlhf/transformer";
import type * as tf from "@tensorflow/tfjs-core";
import { clippedValueLoss } from "./value_loss.ts";

/**
 * The value network's loss on a micro-batch: forward pass and clipped value loss. Parts of a minibatch of
 * `denominator` tokens add up to the loss and the metrics of the whole.
 */
export function criticLoss(
  critic: ScalarModel,
  batch: Responses & { readonly values: tf.Tensor2D; readonly returns: tf.Tensor2D },
  options: { readonly clipRange: number; readonly denominator: number },
): LossWithMetrics {
  const { mask, values: oldValues, returns } = batch;
  const values = responseValues(critic, batch);
  const { loss, clipFraction } = clippedValueLoss({ values, oldValues, returns, mask, ...options });
  return { loss, metrics: { valueClipFraction: clipFraction } };
}
