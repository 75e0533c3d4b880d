/** Kernels over all parameters of a model at once; their tensors come in attributes. */
import type * as tf from "@tensorflow/tfjs-core";
import { kernel, type NativeKernel } from "./_kernel.ts";

type Tensors = ReadonlyArray<tf.TensorInfo>;

/** In place; where a buffer has another owner, that owner keeps the old values. */
const adamw = kernel<{
  readonly params: Tensors;
  readonly grads: Tensors;
  readonly firstMoments: Tensors;
  readonly secondMoments: Tensors;
  readonly step: number;
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecays: ReadonlyArray<number>;
  readonly gradScale: tf.TensorInfo | null;
}>(({ op, attrs, backend }) => {
  const { step, learningRate, beta1, beta2, epsilon, weightDecays, gradScale } = attrs;
  if (!(step >= 1)) throw new RangeError(`Cannot run ${op}: step must be at least 1, got ${step}`);
  const grads = attrs.grads.map((grad, i) => backend.floats(op, `gradient ${i}`, grad));
  const scale = gradScale ? backend.floats(op, "gradScale", gradScale)[0]! : 1;
  const writable = (name: string, tensors: Tensors) =>
    tensors.map((tensor, i) => {
      if (tensor.shape.join() !== attrs.params[i]?.shape.join()) {
        const shapes = `[${attrs.params[i]?.shape.join(", ")}], got [${tensor.shape.join(", ")}]`;
        throw new RangeError(`Cannot run ${op}: ${name} ${i} must be ${shapes}`);
      }
      return backend.writableFloats(op, `${name} ${i}`, tensor);
    });
  backend.addon.adamw(
    writable("parameter", attrs.params),
    grads,
    writable("first moment", attrs.firstMoments),
    writable("second moment", attrs.secondMoments),
    weightDecays,
    learningRate,
    beta1,
    beta2,
    epsilon,
    step,
    scale,
  );
  return [];
});

const globalNorm = kernel<{ readonly tensors: Tensors }>(({ op, attrs, backend }) => {
  const { info, array } = backend.floatOutput([]);
  array[0] = backend.addon.globalNorm(
    attrs.tensors.map((tensor, i) => backend.floats(op, `tensor ${i}`, tensor)),
  );
  return info;
});

export const optimizerKernels: Record<string, NativeKernel> = {
  RlhfAdamw: adamw,
  RlhfGlobalNorm: globalNorm,
};
