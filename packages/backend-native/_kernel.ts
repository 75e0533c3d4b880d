import type * as tf from "@tensorflow/tfjs-core";
import type { NativeBackend } from "./backend.ts";

/** What a kernel is called with. */
export interface KernelCall<Attributes = Record<string, never>> {
  /** The kernel's name, for messages. */
  readonly op: string;
  readonly inputs: Readonly<Record<string, tf.TensorInfo>>;
  readonly attrs: Attributes;
  readonly backend: NativeBackend;
}

export type KernelResult = tf.TensorInfo | tf.TensorInfo[];

/** A native kernel; `undefined` means "not this case", and the stock cpu kernel runs. */
export type NativeKernel = (call: KernelCall<never>) => KernelResult | undefined;

/** Gives a kernel its attributes' type. */
export const kernel = <Attributes>(
  run: (call: KernelCall<Attributes>) => KernelResult | undefined,
): NativeKernel => run as NativeKernel;

const words = (shape: ReadonlyArray<number | string>) => `[${shape.join(", ")}]`;

/** Throws a RangeError unless the tensor has this shape; words stand for dimensions that may be anything. */
export const requireShape = (
  op: string,
  name: string,
  tensor: tf.TensorInfo,
  expected: ReadonlyArray<number | string>,
): void => {
  const { shape } = tensor;
  const agrees =
    shape.length === expected.length &&
    expected.every((dim, axis) => typeof dim === "string" || dim === shape[axis]);
  if (!agrees) {
    throw new RangeError(`Cannot run ${op}: ${name} must be ${words(expected)}, got ${words(shape)}`);
  }
};
