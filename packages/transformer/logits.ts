import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import type { Sequences } from "./batch.ts";
import { type ForwardOptions, hiddenStates } from "./hidden_states.ts";
import type { Model } from "./model.ts";
import { decoderWeights } from "./parameters.ts";

/**
 * The unnormalised log-probabilities of every token of the vocabulary: `[batch, time, vocab]`. Entry t of a `gpt2`
 * is about token t + 1, of a `masked-lm` about token t. Training needs only `nextTokenLogProbs`, which never holds
 * this tensor whole.
 */
export function logits(model: Model, batch: Sequences, options: ForwardOptions = {}): tf.Tensor3D {
  return tf.tidy(() => {
    const { unembedding } = decoderWeights(model);
    return linear(hiddenStates(model, batch, options), unembedding, { transposeWeight: true });
  });
}
