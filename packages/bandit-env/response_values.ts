import { type ScalarModel, tokenValues } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { atContexts } from "./_at_contexts.ts";
import type { EpisodeTensors } from "./episode_tensors.ts";

/**
 * V(sₜ) for every response token t, where sₜ is prompt and response before it: `[batch, response]`, 0 where the mask
 * is 0. Differentiable in the value network's parameters.
 */
export function responseValues(
  critic: ScalarModel,
  { contexts, mask, ids, segments, positions }: Omit<EpisodeTensors, "responseIds">,
): tf.Tensor2D {
  return tf.tidy(() => {
    const values = tf.expandDims(tokenValues(critic, { ids, segments, positions }), 2) as tf.Tensor3D;
    return tf.mul(tf.reshape(atContexts(values, contexts), mask.shape), mask) as tf.Tensor2D;
  });
}
