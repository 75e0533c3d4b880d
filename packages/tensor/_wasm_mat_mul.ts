import * as tf from "@tensorflow/tfjs-core";

let patched = false;

/**
 * Makes the wasm backend's matrix product write out a transposed operand first: with `transposeA` or `transposeB` it
 * would fall back to a naive loop, five times slower.
 */
export const patchWasmMatMul = (): void => {
  if (patched) return;
  patched = true;
  const original = tf.getKernel(tf.BatchMatMul, "wasm");
  const transpose = tf.getKernel(tf.Transpose, "wasm").kernelFunc;
  tf.unregisterKernel(tf.BatchMatMul, "wasm");
  tf.registerKernel({
    ...original,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const written: tf.TensorInfo[] = [];
      const straight = (x: tf.TensorInfo, transposed: boolean): tf.TensorInfo => {
        if (!transposed) return x;
        const rank = x.shape.length;
        const perm = [...Array(rank - 2).keys(), rank - 1, rank - 2];
        const result = transpose({ inputs: { x }, attrs: { perm }, backend }) as tf.TensorInfo;
        written.push(result);
        return result;
      };
      const a = straight(inputs.a!, attrs?.transposeA === true);
      const b = straight(inputs.b!, attrs?.transposeB === true);
      const flags = { ...attrs, transposeA: false, transposeB: false };
      const product = original.kernelFunc({ inputs: { a, b }, attrs: flags, backend });
      for (const { dataId } of written) (backend as tf.KernelBackend).disposeData(dataId);
      return product;
    },
  });
};
