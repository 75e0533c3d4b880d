import * as tf from "@tensorflow/tfjs-core";
import { asRows, assertRange, fromRows } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/**
 * Gated SiLU (Shazeer 2020): the first half of the last axis gates the second.
 *
 * y = silu(gate) · up, silu(a) = a σ(a)
 *
 * @param gateUp `[..., 2f]`
 * @returns `[..., f]`
 * @throws RangeError when the last axis is odd
 */
export const swiglu = <R extends tf.Rank>(gateUp: tf.Tensor<R>): tf.Tensor<R> => {
  const size = gateUp.shape.at(-1) ?? 1;
  assertRange("gate a layer", size % 2 === 0, `the last axis of gateUp must be even, got ${size}`);
  return tf.tidy(() => {
    const rows = asRows(gateUp);
    const y = hasFusedKernel("RlhfSwiglu") ? fusedSwiglu(rows) : composedSwiglu(rows);
    const shape = [...gateUp.shape.slice(0, -1), size / 2];
    return fromRows<R>(y, shape);
  });
};

const composedSwiglu = (x: tf.Tensor2D): tf.Tensor2D => {
  const [gate, up] = tf.split(x, 2, 1) as [tf.Tensor2D, tf.Tensor2D];
  return tf.mul(tf.mul(gate, tf.sigmoid(gate)), up);
};

const fusedSwiglu = (x: tf.Tensor2D): tf.Tensor2D =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [value] = runFusedKernel("RlhfSwiglu", { x }, {});
    save([x]);
    const gradFunc = (dy: tf.Tensor, [x]: tf.Tensor[]) =>
      runFusedKernel("RlhfSwigluGrad", { dy, x: x! }, {})[0];
    return { value, gradFunc };
  })(x) as tf.Tensor2D;
