import { embed } from "@rlhf/tensor";
import * as tf from "@tensorflow/tfjs-core";

/** The vectors of `[batch, time, width]` at the columns `contexts` `[batch, response]`: `[batch · response, width]`. */
export function atContexts(x: tf.Tensor3D, contexts: tf.Tensor2D): tf.Tensor2D {
  const [batch, time, width] = x.shape;
  const rowStarts = tf.expandDims(tf.range(0, batch * time, time, "int32"), 1);
  const ids = tf.reshape(tf.add(contexts, rowStarts), [-1]);
  return embed(tf.reshape(x, [batch * time, width]), ids) as tf.Tensor2D;
}
