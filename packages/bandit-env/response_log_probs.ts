import { linearTokenLogProbs } from "@rlhf/tensor";
import { decoderWeights, hiddenStates, type Model, type TokenLogProbs } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { packResponses, vectorsAt } from "./_packed.ts";
import type { Responses } from "./responses.ts";

/**
 * Log-probability of every response token given prompt and response before it, and the entropy of each
 * distribution, both `[batch, response]` and 0 where the mask is 0. Only response tokens reach the unembedding.
 * Differentiable in the model's parameters, except the entropy.
 *
 * @param options.temperature the sampler's: logits are divided by it in every log-probability
 */
export function responseLogProbs(
  model: Model,
  responses: Responses,
  options: { readonly temperature: number },
): TokenLogProbs {
  const { mask } = responses;
  return tf.tidy(() => {
    const { sequences, responseIds, contexts } = packResponses(responses, model.config.contextLength);
    const { logProbs, entropy } = linearTokenLogProbs(
      vectorsAt(hiddenStates(model, sequences), contexts),
      decoderWeights(model).unembedding,
      responseIds,
      options,
    );
    const masked = (x: tf.Tensor) => tf.mul(tf.reshape(x, mask.shape), mask) as tf.Tensor2D;
    return { logProbs: masked(logProbs), entropy: masked(entropy) };
  });
}
