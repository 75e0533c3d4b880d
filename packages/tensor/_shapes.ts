import * as tf from "@tensorflow/tfjs-core";

type Size = number | string;

/**
 * Throws a RangeError unless `tensor` has the expected shape; a string stands for a size that may be anything.
 * `task` finishes the sentence "Cannot …".
 */
export const assertShape = (
  task: string,
  name: string,
  tensor: tf.Tensor,
  expected: ReadonlyArray<Size>,
): void => {
  const agrees =
    tensor.shape.length === expected.length &&
    expected.every((size, axis) => typeof size === "string" || size === tensor.shape[axis]);
  if (!agrees) {
    throw new RangeError(
      `Cannot ${task}: ${name} must be [${expected.join(", ")}], got [${tensor.shape.join(", ")}]`,
    );
  }
};

/** Throws a TypeError unless `tensor` holds the given kind of numbers. */
export const assertType = (
  task: string,
  name: string,
  tensor: tf.Tensor,
  dtype: "float32" | "int32",
): void => {
  if (tensor.dtype !== dtype) {
    throw new TypeError(`Cannot ${task}: ${name} must hold ${dtype}, got ${tensor.dtype}`);
  }
};

/** Throws a RangeError unless the condition holds. */
export const assertRange = (task: string, holds: boolean, requirement: string): void => {
  if (!holds) throw new RangeError(`Cannot ${task}: ${requirement}`);
};

/** `[..., size]` seen as a matrix `[rows, size]`. */
export const asRows = (x: tf.Tensor): tf.Tensor2D =>
  x.rank === 2 ? (x as tf.Tensor2D) : tf.reshape(x, [-1, x.shape.at(-1) ?? 1]);

/** Rows seen as `shape` again, which undoes {@link asRows}; a matrix stays as it is. */
export const fromRows = <R extends tf.Rank>(rows: tf.Tensor2D, shape: ReadonlyArray<number>): tf.Tensor<R> =>
  shape.length === 2 ? (rows as tf.Tensor as tf.Tensor<R>) : tf.reshape(rows, shape as tf.ShapeMap[R]);
