import * as tf from "@tensorflow/tfjs-core";

/** log σ(x), without overflow. */
export function logSigmoid(x: tf.Tensor): tf.Tensor {
  return tf.neg(tf.softplus(tf.neg(x)));
}
