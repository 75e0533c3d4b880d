import "@rlhf/tensor/gradients";
import * as tf from "@tensorflow/tfjs-core";

/** Throws a RangeError unless all tensors are vectors of one length. */
export function assertVectors(doing: string, tensors: Readonly<Record<string, tf.Tensor>>): void {
  const [[first, { shape }], ...others] = Object.entries(tensors) as [[string, tf.Tensor]];
  for (const [name, tensor] of others as ReadonlyArray<[string, tf.Tensor]>) {
    if (shape.length !== 1 || !tf.util.arraysEqual(tensor.shape, shape)) {
      throw new RangeError(
        `Cannot ${doing}: ${first} and ${name} must be vectors of one length, got [${shape.join(", ")}] and [${tensor.shape.join(", ")}]`,
      );
    }
  }
}
