import * as tf from "@tensorflow/tfjs-core";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";

/**
 * sum + term, and both are freed: in the memory of `sum` where the backend can and nobody else holds it, which spares
 * gradients that come in several parts a third array.
 *
 * @param term of the shape of `sum`
 */
export const addInto = <T extends tf.Tensor>(sum: T, term: T): T => {
  const total = hasFusedKernel("RlhfAddInto")
    ? (runFusedKernel("RlhfAddInto", { sum, term }, {})[0] as T)
    : tf.add<T>(sum, term);
  tf.dispose([sum, term] as tf.Tensor[]);
  return total;
};
