import { attention } from "@rlhf/tensor/attention";
import { embed } from "@rlhf/tensor/embed";
import { layerNorm } from "@rlhf/tensor/layer_norm";
import { linear } from "@rlhf/tensor/linear";
import * as tf from "@tensorflow/tfjs-core";
import { poolerName } from "./_layout.ts";
import type { Sequences } from "./batch.ts";
import type { BertConfig } from "./config.ts";
import type { Sublayers } from "./hidden_states.ts";
import type { Model } from "./model.ts";
import { partsOf } from "./parameters.ts";

/** BERT's encoder (Devlin et al. 2019): the norm stands behind each sum. All tokens are of the first type. */
export function bertHiddenStates(
  model: Model,
  batch: Sequences,
  { drop, map, addMap }: Sublayers,
): tf.Tensor3D {
  const { param, map: weights } = partsOf(model);
  const { heads, layers, width } = model.config;
  const norm = normOf(model);
  const embeddings = "bert.embeddings";
  return tf.tidy(() => {
    const words = embed(param(`${embeddings}.word_embeddings.weight`), batch.ids) as tf.Tensor3D;
    const places = embed(param(`${embeddings}.position_embeddings.weight`), batch.positions);
    const firstType = tf.slice(param(`${embeddings}.token_type_embeddings.weight`), [0, 0], [1, width]);
    const embedded: tf.Tensor3D = tf.add(tf.add(words, places), firstType);
    let x = drop("embedding", norm(`${embeddings}.LayerNorm`, embedded));
    for (let layer = 0; layer < layers; layer++) {
      const block = `bert.encoder.layer.${layer}`;
      const qkv = map(`qkv ${layer}`, x, weights(`${block}.attention.self.qkv_proj`));
      const mixed = attention(qkv, { heads, kvHeads: heads, causal: false, segments: batch.segments });
      const attended = addMap(`attention ${layer}`, x, mixed, weights(`${block}.attention.output.dense`));
      x = norm(`${block}.attention.output.LayerNorm`, attended);
      const wide = map(`up ${layer}`, x, weights(`${block}.intermediate.dense`), { activation: "gelu" });
      const fed = addMap(`feed-forward ${layer}`, x, wide, weights(`${block}.output.dense`));
      x = norm(`${block}.output.LayerNorm`, fed);
    }
    return x;
  });
}

/**
 * BERT's head over the vocabulary, logits = E · norm(gelu(W h + b)) + c, as a product of rows and a matrix: c is one
 * more column of E, and every row ends with 1.
 */
export function bertPrediction(
  model: Model,
  hidden: tf.Tensor2D,
): { rows: tf.Tensor2D; unembedding: tf.Tensor2D } {
  const { param } = partsOf(model);
  const head = "cls.predictions";
  const inner = linear(hidden, param(`${head}.transform.dense.weight`), {
    bias: param(`${head}.transform.dense.bias`),
    activation: "gelu",
  });
  const rows = normOf(model)(`${head}.transform.LayerNorm`, inner);
  const words = param("bert.embeddings.word_embeddings.weight") as tf.Tensor as tf.Tensor2D;
  return {
    rows: tf.concat([rows, tf.ones([rows.shape[0], 1])], 1) as tf.Tensor2D,
    unembedding: tf.concat([words, tf.reshape(param(`${head}.bias`), [-1, 1])], 1) as tf.Tensor2D,
  };
}

/** A masked language model has none. */
export const hasPooler = (model: Model): boolean => partsOf(model).find(`${poolerName}.weight`) !== undefined;

/** What BERT's classifiers read of a token, tanh(W h + b). */
export function bertPooled<R extends tf.Rank>(model: Model, hidden: tf.Tensor<R>): tf.Tensor<R> {
  const { param } = partsOf(model);
  const weight = param(`${poolerName}.weight`) as tf.Tensor as tf.Tensor2D;
  return tf.tidy(() => tf.tanh(linear(hidden, weight, { bias: param(`${poolerName}.bias`) })));
}

function normOf(model: Model) {
  const { param } = partsOf(model);
  const { epsilon } = model.config as BertConfig;
  return <R extends tf.Rank>(name: string, x: tf.Tensor<R>): tf.Tensor<R> =>
    layerNorm(x, param(`${name}.weight`), param(`${name}.bias`), epsilon);
}
