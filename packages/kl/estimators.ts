import * as tf from "@tensorflow/tfjs-core";

/**
 * Log-probabilities of the same sampled tokens under two distributions: `logProbs` under the one they were sampled
 * from (the policy π), `refLogProbs` under the other (the reference π₀). Both have the same shape, any rank.
 */
export interface LogProbPair {
  readonly logProbs: tf.Tensor;
  readonly refLogProbs: tf.Tensor;
}

/**
 * The estimator k1 of KL(π‖π₀) at every token: log π − log π₀. Unbiased, of high variance, negative for many tokens;
 * its sign is what makes the mean unbiased, so it is never clamped.
 *
 * Schulman 2020, "Approximating KL divergence". Result: the inputs' shape, in nats.
 *
 * @throws RangeError when the shapes differ.
 */
export function k1(pair: LogProbPair): tf.Tensor {
  return tf.tidy(() => logRatio(pair));
}

/**
 * The estimator k2 of KL(π‖π₀) at every token: ½ (log π − log π₀)². Biased, of low variance, never negative.
 *
 * Schulman 2020. Result: the inputs' shape, in nats.
 *
 * @throws RangeError when the shapes differ.
 */
export function k2(pair: LogProbPair): tf.Tensor {
  return tf.tidy(() => tf.mul(tf.square(logRatio(pair)), 0.5));
}

/**
 * The estimator k3 of KL(π‖π₀) at every token: r − 1 − log r with r = π₀/π. Unbiased, of low variance, never negative.
 *
 * Schulman 2020. Result: the inputs' shape, in nats. The gradient through k3 is not the gradient of the KL.
 *
 * @throws RangeError when the shapes differ.
 */
export function k3(pair: LogProbPair): tf.Tensor {
  return tf.tidy(() => {
    const ratio = logRatio(pair);
    return tf.add(tf.sub(tf.exp(tf.neg(ratio)), 1), ratio);
  });
}

function logRatio({ logProbs, refLogProbs }: LogProbPair): tf.Tensor {
  if (!tf.util.arraysEqual(logProbs.shape, refLogProbs.shape)) {
    throw new RangeError(
      `Cannot estimate the KL: refLogProbs must match logProbs [${logProbs.shape.join(", ")}], got [${refLogProbs.shape.join(", ")}]`,
    );
  }
  return tf.sub(logProbs, refLogProbs);
}
