import * as tf from "@tensorflow/tfjs-core";

/**
 * Pairwise loss of the Bradley–Terry model, mean over pairs: `−log σ(r_w − r_l − m)`.
 *
 * Bradley & Terry 1952; as a reward-model loss Ziegler et al. 2019, arXiv:1909.08593; the margin m is Llama 2's
 * (Touvron et al. 2023, arXiv:2307.09288, equation 2). Computed as `softplus(m − r_w + r_l)`, which neither
 * overflows nor loses the gradient of a pair that is far off.
 *
 * @param chosen `[pairs]`, scores of the preferred responses
 * @param rejected `[pairs]`, scores of the others
 * @param margin `[pairs]`, by how much the preferred response should lead; 0 when left out
 * @throws RangeError when the shapes differ or there is no pair
 */
export function bradleyTerryLoss({
  chosen,
  rejected,
  margin,
}: {
  readonly chosen: tf.Tensor1D;
  readonly rejected: tf.Tensor1D;
  readonly margin?: tf.Tensor1D;
}): tf.Scalar {
  for (const [name, tensor] of Object.entries({ rejected, margin })) {
    if (tensor !== undefined && (tensor.rank !== 1 || tensor.size !== chosen.size)) {
      throw new RangeError(
        `Cannot compare scores: ${name} must match chosen [${chosen.shape}], got [${tensor.shape}]`,
      );
    }
  }
  if (chosen.rank !== 1 || chosen.size === 0) {
    throw new RangeError(
      `Cannot compare scores: chosen must be [pairs] with at least one pair, got [${chosen.shape}]`,
    );
  }
  return tf.tidy(() => {
    const shortfall = tf.sub(rejected, chosen);
    return tf.mean(tf.softplus(margin === undefined ? shortfall : tf.add(shortfall, margin)));
  });
}
