import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "./model.ts";
import { parameterShapes } from "./parameters.ts";

/**
 * A model with room for more tokens: embedding and unembedding get rows up to `vocabSize`. A new row is the mean of the old ones,
 * so that no text is much less likely than before (Hewitt 2021, _Initializing new word embeddings for pretrained language
 * models_), a new number of BERT's bias over the vocabulary is 0. `resize_token_embeddings` of Python's `transformers` does
 * the same but for noise: it draws a row from very near that mean.
 *
 * @param model is taken over: the new model has its parameters, those that grow are freed
 * @param vocabSize at least the model's own
 * @throws RangeError for fewer tokens, and for a model with an adapter, whose base must stay as it is
 */
export function resizeEmbeddings(model: Model, vocabSize: number): Model {
  const { config, params } = model;
  if (!Number.isInteger(vocabSize) || vocabSize < config.vocabSize) {
    throw new RangeError(
      `Cannot resize the embeddings: vocabSize must be an integer of at least ${config.vocabSize}, the model's, got ${vocabSize}`,
    );
  }
  if (model.adapter !== undefined) {
    throw new RangeError("Cannot resize the embeddings: the model has an adapter; resize before addLora");
  }
  const resized = { ...config, vocabSize };
  const entries = Object.entries(parameterShapes(resized)).map(([name, shape]) => {
    const old = params[name]!;
    if (tf.util.arraysEqual(old.shape, [...shape])) return [name, old];
    const grown = tf.tidy(() => {
      const count = vocabSize - config.vocabSize;
      const added = old.rank === 1 ? tf.zeros([count]) : tf.tile(tf.mean(old, 0, true), [count, 1]);
      return tf.variable(tf.concat([old as tf.Tensor, added], 0));
    });
    old.dispose();
    return [name, grown];
  });
  return { config: resized, params: Object.fromEntries(entries) };
}
