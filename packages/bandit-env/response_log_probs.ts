import { linearTokenLogProbs } from "@rlhf/tensor";
import { decoderWeights, hiddenStates, type Model, type TokenLogProbs } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { atContexts } from "./_at_contexts.ts";
import type { EpisodeTensors } from "./episode_tensors.ts";

/**
 * Log-probability of every response token given prompt and response before it, and the entropy of each
 * distribution, both `[batch, response]` and 0 where the mask is 0. Only response tokens reach the unembedding.
 * Differentiable in the model's parameters, except the entropy.
 *
 * @param options.temperature the sampler's: logits are divided by it in every log-probability
 */
export function responseLogProbs(
  model: Model,
  { contexts, responseIds, mask, ...sequences }: EpisodeTensors,
  options: { readonly temperature: number },
): TokenLogProbs {
  return tf.tidy(() => {
    const hidden = atContexts(hiddenStates(model, sequences), contexts);
    const ids = tf.reshape(responseIds, [-1]) as tf.Tensor1D;
    const { logProbs, entropy } = linearTokenLogProbs(
      hidden,
      decoderWeights(model).unembedding,
      ids,
      options,
    );
    const masked = (x: tf.Tensor) => tf.mul(tf.reshape(x, mask.shape), mask) as tf.Tensor2D;
    return { logProbs: masked(logProbs), entropy: masked(entropy) };
  });
}
