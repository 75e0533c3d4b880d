import { adamwStep } from "@rlhf/tensor/adamw_step";
import * as tf from "@tensorflow/tfjs-core";

/** Parameters, or anything that has one variable per parameter, by name. */
export type Variables = Readonly<Record<string, tf.Variable>>;

/** What AdamW remembers between steps: the number of updates made and two running moments per parameter. */
export interface AdamwState {
  step: number;
  readonly firstMoments: Variables;
  readonly secondMoments: Variables;
}

/** AdamW's constants. Defaults: β₁ 0.9, β₂ 0.95 (Ouyang et al. 2022, appendix C), ε 1e-8, no weight decay. */
export interface AdamwOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

/** A fresh optimizer state for these parameters: no step made, all moments zero. Free it with {@link disposeAdamw}. */
export function initAdamw(params: Variables): AdamwState {
  return { step: 0, firstMoments: zerosLike(params), secondMoments: zerosLike(params) };
}

/**
 * One AdamW update (Loshchilov & Hutter 2019, arXiv:1711.05101), in place, with PyTorch's order of operations:
 *
 *     θ ← θ − ηλθ
 *     m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
 *     θ ← θ − η · m̂ / (√v̂ + ε)   m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)
 *
 * The decay λ acts on matrices only: biases, gains and other vectors are left out. `state.step` is counted up.
 * `grads` holds one gradient per parameter, of its shape; parameters without one keep their value and moments.
 * All gradients are multiplied by `gradScale` first, if given: that is how they are clipped.
 */
export function applyAdamw(
  params: Variables,
  grads: Readonly<Record<string, tf.Tensor>>,
  state: AdamwState,
  options: AdamwOptions & { readonly learningRate: number; readonly gradScale?: tf.Scalar },
): void {
  const { learningRate, gradScale, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0 } = options;
  const names = Object.keys(grads);
  for (const name of names) {
    if (params[name] === undefined) {
      throw new RangeError(`Cannot apply AdamW: there is a gradient for ${name} but no such parameter`);
    }
  }
  const pick = (from: Variables) => Object.fromEntries(names.map((name) => [name, from[name]!]));
  state.step += 1;
  adamwStep({
    params: pick(params),
    grads,
    gradScale,
    firstMoments: pick(state.firstMoments),
    secondMoments: pick(state.secondMoments),
    step: state.step,
    learningRate,
    beta1,
    beta2,
    epsilon,
    weightDecay: (name) => (params[name]!.rank >= 2 ? weightDecay : 0),
  });
}

export function disposeAdamw(state: AdamwState): void {
  tf.dispose([Object.values(state.firstMoments), Object.values(state.secondMoments)]);
}

function zerosLike(params: Variables): Variables {
  return Object.fromEntries(
    Object.entries(params).map(([name, param]) => [name, tf.tidy(() => tf.variable(tf.zerosLike(param)))]),
  );
}
