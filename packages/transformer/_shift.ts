import * as tf from "@tensorflow/tfjs-core";

/** Column t of `[batch, time]` becomes column t − 1; the last column is 0. */
export function shiftLeft(x: tf.Tensor2D): tf.Tensor2D {
  const [batch, time] = x.shape;
  return tf.concat([tf.slice(x, [0, 1], [batch, time - 1]), tf.zeros([batch, 1], x.dtype)], 1);
}

/** Column t of `[batch, time]` becomes column t + 1; the first column is 0. */
export function shiftRight(x: tf.Tensor2D): tf.Tensor2D {
  const [batch, time] = x.shape;
  return tf.concat([tf.zeros([batch, 1], x.dtype), tf.slice(x, [0, 0], [batch, time - 1])], 1);
}
