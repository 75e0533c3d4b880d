import * as tf from "@tensorflow/tfjs-core";
import { bertPrediction } from "./_bert.ts";
import type { Model } from "./model.ts";
import { decoderWeights } from "./parameters.ts";

/**
 * Two matrices whose product is the logits: rows `[batch · time, d]` and unembedding `[vocab, d]`. Called inside
 * `tf.tidy`.
 */
export function prediction(
  model: Model,
  hidden: tf.Tensor3D,
): { readonly rows: tf.Tensor2D; readonly unembedding: tf.Tensor } {
  const [batch, time, width] = hidden.shape;
  const rows: tf.Tensor2D = tf.reshape(hidden, [batch * time, width]);
  return model.config.architecture === "bert"
    ? bertPrediction(model, rows)
    : { rows, unembedding: decoderWeights(model).unembedding };
}
