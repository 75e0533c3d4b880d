import * as tf from "@tensorflow/tfjs-core";
import type { WebGpuBackend } from "./backend.ts";

/** What a kernel is called with. */
export interface KernelCall<Inputs extends string, Attributes> {
  /** The kernel's name, for messages. */
  readonly op: string;
  readonly inputs: Readonly<Record<Inputs, tf.TensorInfo>>;
  readonly attrs: Attributes;
  readonly backend: WebGpuBackend;
}

export type Kernel = (call: KernelCall<never, never>) => tf.TensorInfo | tf.TensorInfo[];

/** Gives a kernel the types of its inputs and attributes. */
export const kernel = <Inputs extends string = never, Attributes = unknown>(
  run: (call: KernelCall<Inputs, Attributes>) => tf.TensorInfo | tf.TensorInfo[],
): Kernel => run as unknown as Kernel;

/** tfjs's product of two matrices on the GPU. */
export const product = (
  backend: WebGpuBackend,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  transpose: { readonly a?: boolean; readonly b?: boolean } = {},
): tf.TensorInfo =>
  tf.getKernel(tf.BatchMatMul, "webgpu").kernelFunc({
    inputs: { a, b },
    attrs: { transposeA: transpose.a ?? false, transposeB: transpose.b ?? false },
    backend,
  }) as tf.TensorInfo;
