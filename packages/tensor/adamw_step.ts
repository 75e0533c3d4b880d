import * as tf from "@tensorflow/tfjs-core";
import { assertRange, assertShape } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";

const task = "update parameters";

/**
 * One step of Adam with decoupled weight decay (Kingma and Ba 2014; Loshchilov and Hutter 2019), in place, with
 * torch's placement of ε and of the bias corrections.
 *
 * θ ← (1 − η λ) θ
 * m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²
 * θ ← θ − η / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
 *
 * @param options.params variables by name; every name has a gradient and two moments of the same shape
 * @param options.step t, 1 for the first update
 * @param options.weightDecay λ of each parameter
 * @param options.gradScale scalar that multiplies every gradient, see `clipScale`
 * @throws RangeError when a name is missing, a shape differs or the step is below 1
 */
export const adamwStep = (options: {
  readonly params: Readonly<Record<string, tf.Variable>>;
  readonly grads: Readonly<Record<string, tf.Tensor>>;
  readonly firstMoments: Readonly<Record<string, tf.Variable>>;
  readonly secondMoments: Readonly<Record<string, tf.Variable>>;
  readonly step: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: (name: string) => number;
  readonly gradScale?: tf.Scalar | undefined;
}): void => {
  const { params, step, learningRate, beta1, beta2, epsilon, weightDecay, gradScale } = options;
  assertRange(task, step >= 1, `step must be at least 1, got ${step}`);
  const names = Object.keys(params);
  const grads = pick(options.grads, "gradient", names, params);
  const firstMoments = pick(options.firstMoments, "first moment", names, params);
  const secondMoments = pick(options.secondMoments, "second moment", names, params);

  if (hasFusedKernel("RlhfAdamw")) {
    const hyper = { step, learningRate, beta1, beta2, epsilon, gradScale: gradScale ?? null };
    const weightDecays = names.map(weightDecay);
    const tensors = { params: Object.values(params), grads, firstMoments, secondMoments };
    runFusedKernel("RlhfAdamw", {}, { ...tensors, weightDecays, ...hyper });
    return;
  }
  const stepSize = learningRate / (1 - beta1 ** step);
  const secondCorrection = Math.sqrt(1 - beta2 ** step);
  names.forEach((name, index) => {
    const [param, first, second] = [params[name]!, firstMoments[index]!, secondMoments[index]!];
    tf.tidy(() => {
      const grad = gradScale ? tf.mul(grads[index]!, gradScale) : grads[index]!;
      first.assign(tf.add(tf.mul(first, beta1), tf.mul(grad, 1 - beta1)));
      second.assign(tf.add(tf.mul(second, beta2), tf.mul(tf.square(grad), 1 - beta2)));
      const denominator = tf.add(tf.div(tf.sqrt(second), secondCorrection), epsilon);
      const decayed = tf.mul(param, 1 - learningRate * weightDecay(name));
      param.assign(tf.sub(decayed, tf.mul(tf.div(first, denominator), stepSize)));
    });
  });
};

const pick = <T extends tf.Tensor>(
  tensors: Readonly<Record<string, T>>,
  what: string,
  names: ReadonlyArray<string>,
  params: Readonly<Record<string, tf.Variable>>,
): T[] =>
  names.map((name) => {
    const tensor = tensors[name];
    if (!tensor) throw new RangeError(`Cannot ${task}: ${name} has no ${what}`);
    assertShape(task, `the ${what} of ${name}`, tensor, params[name]!.shape);
    return tensor;
  });
