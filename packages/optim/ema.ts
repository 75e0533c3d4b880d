import * as tf from "@tensorflow/tfjs-core";
import type { Variables } from "./adamw.ts";

/** A copy of the parameters from which an exponential moving average starts. Free it with `tf.dispose`. */
export function initEma(params: Variables): Variables {
  return Object.fromEntries(
    // A product, because clone() would share its storage with parameters that are updated in place.
    Object.entries(params).map(([name, param]) => [name, tf.tidy(() => tf.variable(tf.mul(param, 1)))]),
  );
}

/**
 * Moves the average towards the parameters, in place: ē ← d·ē + (1 − d)·θ. InstructGPT's policies are such an
 * average with d = 0.992 per iteration (Ouyang et al. 2022, appendix C.4).
 *
 * @throws RangeError when a parameter has no average, or the decay lies outside [0, 1].
 */
export function updateEma(ema: Variables, params: Variables, decay: number): void {
  if (!(decay >= 0 && decay <= 1)) {
    throw new RangeError(`Cannot update the average: decay must lie in [0, 1], got ${decay}`);
  }
  tf.tidy(() => {
    for (const [name, param] of Object.entries(params)) {
      const average = ema[name];
      if (average === undefined) {
        throw new RangeError(`Cannot update the average: it has no entry for the parameter ${name}`);
      }
      average.assign(tf.add(tf.mul(average, decay), tf.mul(param, 1 - decay)));
    }
  });
}
