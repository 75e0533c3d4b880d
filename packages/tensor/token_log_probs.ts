import * as tf from "@tensorflow/tfjs-core";
import { logitGradient, normalizerAndChosen } from "./_log_probs.ts";
import { asRows, assertRange, assertShape, assertType } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

const task = "take log-probabilities of tokens";

/**
 * Log-probability of the given token in each row of logits.
 *
 * y[i] = z[i, ids[i]] − log Σⱼ exp z[i, j], z = logits / temperature
 *
 * @param logits `[..., vocab]`
 * @param ids int32 `[...]`, each in `[0, vocab)` (not checked: that would need a read)
 * @returns `[...]`
 * @throws RangeError when shapes do not agree or the temperature is not positive, TypeError when ids are not int32
 */
export const tokenLogProbs = (
  logits: tf.Tensor,
  ids: tf.Tensor,
  options: { readonly temperature?: number | undefined } = {},
): tf.Tensor => {
  const { temperature = 1 } = options;
  assertShape(task, "ids", ids, logits.shape.slice(0, -1));
  assertType(task, "ids", ids, "int32");
  assertRange(task, temperature > 0, `temperature must be positive, got ${temperature}`);
  const compute = hasFusedKernel("RlhfTokenLogProbs") ? fused : composed;
  return tf.tidy(() =>
    tf.reshape(compute(asRows(logits), tf.reshape(ids, [-1]) as tf.Tensor1D, temperature), ids.shape),
  );
};

const composed = (logits: tf.Tensor2D, ids: tf.Tensor1D, temperature: number): tf.Tensor =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const { normalizer, chosen } = normalizerAndChosen(tf.div(logits, temperature), ids);
    save([logits, normalizer, ids]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [logits, normalizer, ids] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D];
      const probabilities = tf.exp(tf.sub(tf.div(logits, temperature), tf.expandDims(normalizer, 1)));
      return logitGradient(tf.div(dy, temperature), probabilities as tf.Tensor2D, ids);
    };
    return { value: tf.sub(chosen, normalizer), gradFunc };
  })(logits);

const fused = (logits: tf.Tensor2D, ids: tf.Tensor1D, temperature: number): tf.Tensor =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [y] = runFusedKernel("RlhfTokenLogProbs", { logits, ids }, { temperature });
    save([logits, ids, y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [logits, ids, y] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
      return runFusedKernel("RlhfTokenLogProbsGrad", { dy, logits, ids, y }, { temperature })[0];
    };
    return { value: y, gradFunc };
  })(logits);
