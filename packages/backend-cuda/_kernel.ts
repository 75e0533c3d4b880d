import type * as tf from "@tensorflow/tfjs-core";
import type { CudaBackend } from "./backend.ts";

/** What a kernel is called with. */
export interface KernelCall<Inputs extends string, Attributes> {
  /** The kernel's name, for messages. */
  readonly op: string;
  readonly inputs: Readonly<Record<Inputs, tf.TensorInfo>>;
  readonly attrs: Attributes;
  readonly backend: CudaBackend;
}

export type KernelResult = tf.TensorInfo | tf.TensorInfo[];

/** A kernel; `undefined` means "not this case", and the stock cpu kernel runs on numbers that are read back. */
export type Kernel = (call: KernelCall<never, never>) => KernelResult | undefined;

/** Gives a kernel the types of its inputs and attributes. */
export const kernel = <Inputs extends string = never, Attributes = unknown>(
  run: (call: KernelCall<Inputs, Attributes>) => KernelResult | undefined,
): Kernel => run as unknown as Kernel;
