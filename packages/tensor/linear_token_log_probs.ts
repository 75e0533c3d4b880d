import * as tf from "@tensorflow/tfjs-core";
import { logitGradient, normalizerAndChosen } from "./_log_probs.ts";
import { assertRange, assertShape, assertType } from "./_shapes.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";

const task = "take log-probabilities of tokens";

/**
 * Log-probability of each token straight from hidden states, with the entropy of each distribution. The matrix of
 * logits `[n, vocab]` never exists whole: it is made again, chunk by chunk, on the way back.
 *
 * z = hidden · unembeddingᵀ / temperature
 * logProbs[i] = z[i, ids[i]] − log Σⱼ exp z[i, j]
 * entropy[i] = log Σⱼ exp z[i, j] − Σⱼ p[i, j] z[i, j], which carries no gradient
 *
 * @param hidden `[n, d]`
 * @param unembedding `[vocab, d]`
 * @param ids int32 `[n]`, each in `[0, vocab)` (not checked: that would need a read)
 * @returns both `[n]`
 * @throws RangeError when shapes do not agree or the temperature is not positive, TypeError when ids are not int32
 */
export const linearTokenLogProbs = (
  hidden: tf.Tensor2D,
  unembedding: tf.Tensor,
  ids: tf.Tensor1D,
  options: { readonly temperature?: number | undefined } = {},
): { readonly logProbs: tf.Tensor1D; readonly entropy: tf.Tensor1D } => {
  const { temperature = 1 } = options;
  assertShape(task, "hidden", hidden, ["n", "d"]);
  assertShape(task, "unembedding", unembedding, ["vocab", hidden.shape[1]]);
  assertShape(task, "ids", ids, [hidden.shape[0]]);
  assertType(task, "ids", ids, "int32");
  assertRange(task, temperature > 0, `temperature must be positive, got ${temperature}`);
  const compute = hasFusedKernel("RlhfLinearTokenLogProbs") ? fused : composed;
  return tf.tidy(() => {
    if (ids.size === 0) {
      // Of no rows there is nothing to stack; the sum of no logits has the right shape, and gradients of 0.
      const none = tf.sum<tf.Tensor1D>(tf.matMul(hidden, unembedding as tf.Tensor2D, false, true), 1);
      return { logProbs: none, entropy: none.clone() };
    }
    const [logProbs, entropy] = tf.unstack(compute(hidden, unembedding as tf.Tensor2D, ids, temperature));
    return { logProbs: logProbs as tf.Tensor1D, entropy: entropy as tf.Tensor1D };
  });
};

/** Chunks of logits hold about this many numbers (16 MiB). */
const chunkElements = 2 ** 22;

const chunks = (rows: number, vocab: number): ReadonlyArray<{ start: number; size: number }> => {
  const size = Math.max(1, Math.floor(chunkElements / vocab));
  return Array.from({ length: Math.ceil(rows / size) }, (_, chunk) => {
    const start = chunk * size;
    return { start, size: Math.min(size, rows - start) };
  });
};

const chunkLogits = (
  hidden: tf.Tensor2D,
  unembedding: tf.Tensor2D,
  start: number,
  size: number,
  temperature: number,
): tf.Tensor2D => {
  const rows = tf.slice(hidden, [start, 0], [size, hidden.shape[1]]);
  return tf.div(tf.matMul(rows, unembedding, false, true), temperature);
};

/** Log-probabilities and entropies stacked, `[2, n]`; the gradient of the second row is ignored. */
const composed = (
  hidden: tf.Tensor2D,
  unembedding: tf.Tensor2D,
  ids: tf.Tensor1D,
  temperature: number,
): tf.Tensor =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const parts = chunks(hidden.shape[0], unembedding.shape[0]).map(({ start, size }) =>
      tf.tidy(() => {
        const logits = chunkLogits(hidden, unembedding, start, size, temperature);
        const { normalizer, chosen } = normalizerAndChosen(logits, tf.slice(ids, [start], [size]));
        const probabilities = tf.exp(tf.sub(logits, tf.expandDims(normalizer, 1)));
        const entropy = tf.sub(normalizer, tf.sum(tf.mul(probabilities, logits), 1));
        return {
          logProbs: tf.sub(chosen, normalizer) as tf.Tensor1D,
          entropy: entropy as tf.Tensor1D,
          normalizer,
        };
      }),
    );
    const [logProbs, entropy, normalizer] = (["logProbs", "entropy", "normalizer"] as const).map((name) =>
      tf.concat(parts.map((part) => part[name])),
    ) as [tf.Tensor, tf.Tensor, tf.Tensor];
    save([hidden, unembedding, ids, normalizer]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [hidden, unembedding, ids, normalizer] = saved as [
        tf.Tensor2D,
        tf.Tensor2D,
        tf.Tensor1D,
        tf.Tensor1D,
      ];
      const dlogProbs = tf.div(tf.reshape(tf.slice(dy, [0, 0], [1, ids.size]), [-1]), temperature);
      let dunembedding: tf.Tensor = tf.zerosLike(unembedding);
      const dhidden = chunks(hidden.shape[0], unembedding.shape[0]).map(({ start, size }) => {
        const [drows, sum] = tf.tidy((): [tf.Tensor2D, tf.Tensor] => {
          const logits = chunkLogits(hidden, unembedding, start, size, temperature);
          const dlogits = logitGradient(
            tf.slice(dlogProbs, [start], [size]),
            tf.exp(tf.sub(logits, tf.expandDims(tf.slice(normalizer, [start], [size]), 1))),
            tf.slice(ids, [start], [size]),
          );
          const rows = tf.slice(hidden, [start, 0], [size, hidden.shape[1]]);
          return [
            tf.matMul(dlogits, unembedding),
            tf.add(dunembedding, tf.matMul(dlogits, rows, true, false)),
          ];
        });
        dunembedding.dispose();
        dunembedding = sum;
        return drows;
      });
      return [tf.concat(dhidden, 0), dunembedding];
    };
    return { value: tf.stack([logProbs, entropy]), gradFunc };
  })(hidden, unembedding);

const fused = (
  hidden: tf.Tensor2D,
  unembedding: tf.Tensor2D,
  ids: tf.Tensor1D,
  temperature: number,
): tf.Tensor =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [logProbs, entropy] = runFusedKernel(
      "RlhfLinearTokenLogProbs",
      { hidden, unembedding, ids },
      { temperature },
    );
    save([hidden, unembedding, ids, logProbs]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [hidden, unembedding, ids, logProbs] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      const dlogProbs = tf.reshape(tf.slice(dy, [0, 0], [1, ids.size]), [-1]);
      return [
        ...runFusedKernel(
          "RlhfLinearTokenLogProbsGrad",
          { dy: dlogProbs, hidden, unembedding, ids, logProbs },
          { temperature },
        ),
      ];
    };
    return { value: tf.stack([logProbs, entropy]), gradFunc };
  })(hidden, unembedding);
