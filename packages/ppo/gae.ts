import * as tf from "@tensorflow/tfjs-core";

/**
 * Generalized advantage estimation (Schulman et al. 2015, arXiv:1506.02438, equation 16) over episodes that end with
 * their last real token, after which the value is 0.
 *
 *     δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ)      Aₜ = Σₛ≥ₜ (γλ)ˢ⁻ᵗ δₛ      Rₜ = Aₜ + V(sₜ)
 *
 * λ = 1 makes the returns those of Monte Carlo, λ = 0 the one-step target. The sum is one product with the
 * triangular matrix of powers of γλ. Advantages are not whitened here.
 *
 * @param rewards after the KL penalty, `[batch, response]`.
 * @param values V(sₜ), where sₜ is the context before token t, `[batch, response]`.
 * @param mask 1 for a token of the response; every row is a run of ones, `[batch, response]`.
 * @param gamma γ, discount, in [0, 1].
 * @param lambda λ, in [0, 1].
 * @returns advantages and returns (the value network's targets), `[batch, response]`, 0 where the mask is 0.
 * @throws RangeError when the shapes differ.
 * @example
 * ```ts
 * import { gae } from "@rlhf/ppo/gae";
 * import { useBackend } from "@rlhf/tensor/backend";
 * import * as tf from "@tensorflow/tfjs-core";
 *
 * await useBackend("auto");
 * const { advantages, returns } = gae({
 *   rewards: tf.tensor2d([[0, 0, 1]]), // one response of three tokens, the score at its end
 *   values: tf.tensor2d([[0.5, 0.5, 0.75]]),
 *   mask: tf.ones([1, 3]),
 *   gamma: 1,
 *   lambda: 1,
 * });
 * console.log(await advantages.array(), await returns.array()); // [[0.5, 0.5, 0.25]], [[1, 1, 1]]
 * ```
 */
export function gae({
  rewards,
  values,
  mask,
  gamma,
  lambda,
}: {
  readonly rewards: tf.Tensor2D;
  readonly values: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
  readonly gamma: number;
  readonly lambda: number;
}): { readonly advantages: tf.Tensor2D; readonly returns: tf.Tensor2D } {
  for (const [name, tensor] of Object.entries({ values, mask })) {
    if (!tf.util.arraysEqual(tensor.shape, rewards.shape)) {
      throw new RangeError(
        `Cannot estimate advantages: ${name} must match rewards [${rewards.shape.join(", ")}], got [${tensor.shape.join(", ")}]`,
      );
    }
  }
  return tf.tidy(() => {
    const realValues = tf.mul(values, mask);
    const nextValues = tf.pad(tf.slice(realValues, [0, 1], [-1, -1]), [
      [0, 0],
      [0, 1],
    ]);
    const errors = tf.sub(tf.add(tf.mul(rewards, mask), tf.mul(nextValues, gamma)), realValues);
    const decay = powersBelowDiagonal(gamma * lambda, rewards.shape[1]);
    const advantages = tf.mul(tf.matMul(errors as tf.Tensor2D, decay), mask) as tf.Tensor2D;
    return { advantages, returns: tf.add(advantages, realValues) as tf.Tensor2D };
  });
}

/** `[length, length]`, base^(row − column) on and below the diagonal, 0 above it. */
function powersBelowDiagonal(base: number, length: number): tf.Tensor2D {
  const powers = new Float32Array(length * length);
  for (let row = 0; row < length; row++) {
    for (let column = 0; column <= row; column++) powers[row * length + column] = base ** (row - column);
  }
  return tf.tensor2d(powers, [length, length]);
}
