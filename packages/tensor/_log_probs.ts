import * as tf from "@tensorflow/tfjs-core";

/** Where the entries `[i, ids[i]]` of a matrix `[rows, columns]` lie in its flat form: int32 `[rows]`. */
const flatIndices = (ids: tf.Tensor, columns: number): tf.Tensor1D =>
  tf.add(tf.mul(tf.range(0, ids.size, 1, "int32"), tf.scalar(columns, "int32")), ids);

/** log Σ exp over the last axis and the chosen entries: both `[n]`, of logits `[n, vocab]`. */
export const normalizerAndChosen = (logits: tf.Tensor2D, ids: tf.Tensor) => ({
  normalizer: tf.logSumExp(logits, 1) as tf.Tensor1D,
  chosen: tf.gather(tf.reshape(logits, [-1]), flatIndices(ids, logits.shape[1])) as tf.Tensor1D,
});

/** Gradient of Σ dy log softmax(logits)[ids] by the logits, given the softmax: dy (onehot(ids) − p), `[n, vocab]`. */
export const logitGradient = (dy: tf.Tensor, probabilities: tf.Tensor2D, ids: tf.Tensor): tf.Tensor2D => {
  const [rows, columns] = probabilities.shape;
  const chosen = tf.scatterND(tf.expandDims(flatIndices(ids, columns), 1), dy, [rows * columns]);
  const expected = tf.mul(probabilities, tf.expandDims(dy, 1));
  return tf.sub(tf.reshape(chosen, [rows, columns]), expected);
};
