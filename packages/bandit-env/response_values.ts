import { type ScalarModel, tokenValuesAt } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { packResponses } from "./_packed.ts";
import type { Responses } from "./responses.ts";

/**
 * V(sₜ) for every response token t, where sₜ is prompt and response before it: `[batch, response]`, 0 where the mask
 * is 0. Differentiable in the value network's parameters.
 */
export function responseValues(critic: ScalarModel, responses: Responses): tf.Tensor2D {
  return tf.tidy(() => {
    const { sequences, contexts, byResponse } = packResponses(responses, critic.config.contextLength);
    return byResponse(tokenValuesAt(critic, sequences, contexts));
  });
}
