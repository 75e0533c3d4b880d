import * as tf from "@tensorflow/tfjs-core";
import { assertRange, assertShape } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";

const task = "sample tokens";

/**
 * One token for each row of logits, by inverting the cumulative distribution at a given uniform number, so that the
 * same uniforms give the same tokens whatever rows they share a batch with.
 *
 * p = softmax(logits / temperature), cut to the `topK` likeliest tokens and then to the smallest set of likeliest
 * tokens that holds at least `topP` of what is left (Holtzman et al. 2020); tokens tied with the last one stay
 * id = min { i : Σⱼ≤ᵢ pⱼ > u Σ p }
 *
 * @param logits `[n, vocab]`
 * @param uniforms `[n]` in [0, 1)
 * @returns ids int32 `[n]`, and their log-probabilities `[n]` under softmax(logits / temperature), before any cut
 * @throws RangeError when shapes do not agree or an option is out of range
 */
export const sample = (
  logits: tf.Tensor2D,
  uniforms: tf.Tensor1D,
  options: {
    readonly temperature: number;
    readonly topK?: number | undefined;
    readonly topP?: number | undefined;
  },
): { readonly ids: tf.Tensor1D; readonly logProbs: tf.Tensor1D } => {
  const { temperature, topK = 0, topP = 1 } = options;
  assertShape(task, "logits", logits, ["n", "vocab"]);
  assertShape(task, "uniforms", uniforms, [logits.shape[0]]);
  assertRange(task, temperature > 0, `temperature must be positive, got ${temperature}`);
  assertRange(task, topK >= 0 && Number.isInteger(topK), `topK must be a whole number, got ${topK}`);
  assertRange(task, topP > 0 && topP <= 1, `topP must lie in (0, 1], got ${topP}`);
  if (hasFusedKernel("RlhfSample")) {
    const [ids, logProbs] = runFusedKernel("RlhfSample", { logits, uniforms }, { temperature, topK, topP });
    return { ids, logProbs };
  }
  return tf.tidy(() => {
    const logProbs = tf.logSoftmax(tf.div(logits, temperature)) as tf.Tensor2D;
    const ids = invertCumulative(tf.exp(cut(logProbs, topK, topP)), uniforms);
    const [rows, vocab] = logits.shape;
    const flat = tf.add(tf.mul(tf.range(0, rows, 1, "int32"), tf.scalar(vocab, "int32")), ids);
    return { ids, logProbs: tf.gather(tf.reshape(logProbs, [-1]), flat) as tf.Tensor1D };
  });
};

/** Log-probabilities with the tokens outside of topK and topP at −∞. */
const cut = (logProbs: tf.Tensor2D, topK: number, topP: number): tf.Tensor2D => {
  const vocab = logProbs.shape[1];
  const limit = topK === 0 ? vocab : Math.min(topK, vocab);
  if (limit === vocab && topP === 1) return logProbs;
  const likeliest = tf.topk(logProbs, limit).values as tf.Tensor2D;
  return tf.where(tf.greaterEqual(logProbs, threshold(likeliest, topP)), logProbs, -Infinity) as tf.Tensor2D;
};

/** The log-probability of the last token that stays, `[n, 1]`, from log-probabilities in falling order. */
const threshold = (likeliest: tf.Tensor2D, topP: number): tf.Tensor => {
  const share = tf.softmax(likeliest);
  const before = tf.cumsum(share, 1, true);
  // The first token always stays: nothing lies before it.
  return tf.min(tf.where(tf.less(before, topP), likeliest, Infinity), 1, true);
};

/** The largest float32 below 1 that still stays below 1 when multiplied with any sum and rounded. */
const belowOne = 1 - 2 ** -23;

const invertCumulative = (probabilities: tf.Tensor2D, uniforms: tf.Tensor1D): tf.Tensor1D => {
  const [rows, vocab] = probabilities.shape;
  const cumulative = tf.cumsum(probabilities, 1);
  const total = tf.slice(cumulative, [0, vocab - 1], [rows, 1]);
  const target = tf.mul(total, tf.expandDims(tf.minimum(uniforms, belowOne), 1));
  return tf.cast(tf.sum(tf.cast(tf.lessEqual(cumulative, target), "int32"), 1), "int32") as tf.Tensor1D;
};
