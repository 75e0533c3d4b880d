import * as tf from "@tensorflow/tfjs-core";
import { asRows, assertShape, fromRows } from "./_shapes.ts";
import type { Activation } from "./decoder.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/** The nonlinearity by name: exact GELU x Φ(x), its tanh approximation, SiLU x σ(x), ReLU. */
export const activate = <R extends tf.Rank>(x: tf.Tensor<R>, activation: Activation): tf.Tensor<R> =>
  tf.tidy(() => {
    switch (activation) {
      case "gelu":
        return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
      case "geluTanh": {
        const inner = tf.mul(tf.mul(x, Math.sqrt(2 / Math.PI)), tf.add(tf.mul(tf.square(x), 0.044715), 1));
        return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
      }
      case "silu":
        return tf.mul(x, tf.sigmoid(x));
      case "relu":
        return tf.relu(x);
    }
  });

/**
 * Affine map with what usually follows it, in one pass over memory where the backend can.
 *
 * y = activation(x W + bias) + residual
 *
 * @param x `[..., in]`
 * @param weight `[in, out]`, or `[out, in]` with `transposeWeight`
 * @param options.bias `[out]`
 * @param options.residual `[..., out]`, added after the activation
 * @returns `[..., out]`
 * @throws RangeError when shapes do not agree
 */
export const linear = <R extends tf.Rank>(
  x: tf.Tensor<R>,
  weight: tf.Tensor,
  options: {
    readonly bias?: tf.Tensor | undefined;
    readonly activation?: Activation | undefined;
    readonly residual?: tf.Tensor<R> | undefined;
    readonly transposeWeight?: boolean | undefined;
  } = {},
): tf.Tensor<R> => {
  const { bias, activation, residual, transposeWeight = false } = options;
  const size = x.shape.at(-1) ?? 1;
  assertShape("apply a linear map", "weight", weight, transposeWeight ? ["out", size] : [size, "out"]);
  const out = weight.shape[transposeWeight ? 0 : 1]!;
  const shape = [...x.shape.slice(0, -1), out];
  if (bias) assertShape("apply a linear map", "bias", bias, [out]);
  if (residual) assertShape("apply a linear map", "residual", residual, shape);

  const compute = hasFusedKernel("RlhfLinear") ? fusedLinear : composedLinear;
  return tf.tidy(() => {
    const y = compute({
      x: asRows(x),
      weight: weight as tf.Tensor2D,
      bias: bias as tf.Tensor1D | undefined,
      activation,
      residual: residual && asRows(residual),
      transposeWeight,
    });
    return fromRows<R>(y, shape);
  });
};

interface LinearInput {
  readonly x: tf.Tensor2D;
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | undefined;
  readonly activation: Activation | undefined;
  readonly residual: tf.Tensor2D | undefined;
  readonly transposeWeight: boolean;
}

const composedLinear = ({ x, weight, bias, activation, residual, transposeWeight }: LinearInput) => {
  let y: tf.Tensor2D = tf.matMul(x, weight, false, transposeWeight);
  if (bias) y = tf.add(y, bias);
  if (activation) y = activate(y, activation);
  return residual ? tf.add<tf.Tensor2D>(y, residual) : y;
};

const fusedLinear = ({ x, weight, bias, activation, residual, transposeWeight }: LinearInput) => {
  const attrs = { activation: activation ?? null, transposeWeight };
  const optional = { ...(bias && { bias }), ...(residual && { residual }) };
  const inputs: tf.Tensor[] = [x, weight, ...Object.values(optional)];
  return tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfLinear", { x, weight, ...optional }, attrs);
    save([x, weight, y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, weight, y] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      const hasBias = bias !== undefined;
      const grads = runFusedKernel(
        "RlhfLinearGrad",
        { dy, x, weight, y },
        { ...attrs, hasBias },
      ) as tf.Tensor[];
      return residual ? [...grads, dy] : grads;
    };
    return { value: y, gradFunc };
  })(...inputs) as tf.Tensor2D;
};
