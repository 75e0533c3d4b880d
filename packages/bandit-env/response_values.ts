import { type ScalarModel, tokenValues } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { packResponses, vectorsAt } from "./_packed.ts";
import type { Responses } from "./responses.ts";

/**
 * V(sₜ) for every response token t, where sₜ is prompt and response before it: `[batch, response]`, 0 where the mask
 * is 0. Differentiable in the value network's parameters.
 */
export function responseValues(critic: ScalarModel, responses: Responses): tf.Tensor2D {
  const { mask } = responses;
  return tf.tidy(() => {
    const { sequences, contexts } = packResponses(responses, critic.config.contextLength);
    const values = vectorsAt(tf.expandDims(tokenValues(critic, sequences), 2), contexts);
    return tf.mul(tf.reshape(values, mask.shape), mask) as tf.Tensor2D;
  });
}
