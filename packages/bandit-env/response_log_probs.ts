import { linearTokenLogProbs } from "@rlhf/tensor";
import { decoderWeights, hiddenStatesAt, type Model, type TokenLogProbs } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { packResponses } from "./_packed.ts";
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
  return tf.tidy(() => {
    const { sequences, responseIds, contexts, byResponse } = packResponses(
      responses,
      model.config.contextLength,
    );
    const { logProbs, entropy } = linearTokenLogProbs(
      hiddenStatesAt(model, sequences, contexts),
      decoderWeights(model).unembedding,
      responseIds,
      options,
    );
    return { logProbs: byResponse(logProbs), entropy: byResponse(entropy) };
  });
}
