import { maskedVariance } from "@rlhf/tensor/masked_statistics";
import * as tf from "@tensorflow/tfjs-core";

/**
 * How much of the returns' variance the values predicted: 1 − Var[R − V] / Var[R], over the tokens in the mask.
 * 1 is a perfect value network, 0 one no better than a constant, below 0 one worse than that.
 *
 * @param values `[batch, response]`
 * @param returns `[batch, response]`
 * @param mask 1 for a token that counts, `[batch, response]`
 */
export function explainedVariance({
  values,
  returns,
  mask,
}: {
  readonly values: tf.Tensor2D;
  readonly returns: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
}): tf.Scalar {
  return tf.tidy(() => {
    const unexplained = maskedVariance(tf.sub(returns, values), mask);
    return tf.sub(1, tf.div(unexplained, tf.add(maskedVariance(returns, mask), 1e-8)));
  });
}
