import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { prediction } from "./_prediction.ts";
import type { Sequences } from "./batch.ts";
import { type ForwardOptions, hiddenStates } from "./hidden_states.ts";
import type { Model } from "./model.ts";

/**
 * The unnormalised log-probabilities of every token of the vocabulary: `[batch, time, vocab]`. Entry t of a
 * causal model is about token t + 1, of a `masked-lm` or `bert` about token t. Training needs only `nextTokenLogProbs`, which never holds
 * this tensor whole.
 */
export function logits(model: Model, batch: Sequences, options: ForwardOptions = {}): tf.Tensor3D {
  return tf.tidy(() => {
    const hidden = hiddenStates(model, batch, options);
    const [size, time] = hidden.shape;
    const { rows, unembedding } = prediction(model, hidden);
    return tf.reshape(linear(rows, unembedding, { transposeWeight: true }), [size, time, -1]);
  });
}
