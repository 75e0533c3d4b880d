import "@rlhf/tensor/gradients";
import * as tf from "@tensorflow/tfjs-core";

/** Throws a RangeError unless `advantages` is `[batch]` and all else has the shape of `logProbs`, `[batch, response]`. */
export function assertResponses(
  doing: string,
  {
    logProbs,
    advantages,
    ...others
  }: Readonly<Record<string, tf.Tensor>> & {
    readonly logProbs: tf.Tensor2D;
    readonly advantages: tf.Tensor1D;
  },
): void {
  for (const [name, tensor] of Object.entries(others)) {
    if (!tf.util.arraysEqual(tensor.shape, logProbs.shape)) {
      throw new RangeError(
        `Cannot ${doing}: ${name} must match logProbs [${logProbs.shape.join(", ")}], got [${tensor.shape.join(", ")}]`,
      );
    }
  }
  if (!tf.util.arraysEqual(advantages.shape, [logProbs.shape[0]])) {
    throw new RangeError(
      `Cannot ${doing}: advantages must be [${logProbs.shape[0]}], one a sequence, got [${advantages.shape.join(", ")}]`,
    );
  }
}
