import * as tf from "@tensorflow/tfjs-core";
import { assertShape, assertType } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

/**
 * Rows of a table by id. The gradient adds each row's gradient to its id, always in the same order.
 *
 * y[i] = weight[ids[i]]
 *
 * @param weight `[vocab, d]`
 * @param ids int32 `[...]`, each in `[0, vocab)` (not checked: that would need a read)
 * @returns `[..., d]`
 * @throws RangeError when weight is no matrix, TypeError when ids are not int32
 */
export const embed = (weight: tf.Tensor, ids: tf.Tensor): tf.Tensor => {
  assertShape("embed", "weight", weight, ["vocab", "d"]);
  assertType("embed", "ids", ids, "int32");
  const [vocab, size] = weight.shape as [number, number];
  const fused = hasFusedKernel("RlhfEmbed");
  const rows = (...args: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const flat = tf.reshape(ids, [-1]) as tf.Tensor1D;
    save([flat]);
    const value = fused ? runFusedKernel("RlhfEmbed", { weight, ids: flat }, {})[0] : tf.gather(weight, flat);
    const gradFunc = (dy: tf.Tensor, [flat]: tf.Tensor[]) =>
      fused
        ? runFusedKernel("RlhfEmbedGrad", { dy, ids: flat! }, { vocab })[0]
        : tf.scatterND(tf.expandDims(flat!, 1), dy, [vocab, size]);
    return { value, gradFunc };
  };
  return tf.tidy(() => tf.reshape(tf.customGrad(rows)(weight), [...ids.shape, size]));
};
