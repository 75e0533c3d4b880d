/** The data of tensors, and how their numbers lie on the GPU: as float32 (int32), as bf16, or both. */
import type * as tf from "@tensorflow/tfjs-core";
import type { Allocator, Block } from "./allocator.ts";
import type { Device } from "./device.ts";

export type Values = tf.backend_util.BackendValues;

/**
 * Numbers of the program's until a kernel wants them, then a block on the GPU; of activations under the bf16 policy a
 * block in bf16 alone, until somebody wants them as float32.
 */
export interface TensorData {
  readonly dtype: tf.DataType;
  readonly size: number;
  refCount: number;
  /** Gone once they are on the GPU. */
  values: Values | undefined;
  block: Block | undefined;
  /** The numbers rounded to bf16: a copy for products, or all there is. */
  bf16: Block | undefined;
  /** What the gradient kernel of this output needs; freed with it. */
  auxiliary: ReadonlyArray<tf.TensorInfo>;
}

/** Who asks for memory, and for what, in the words of an error. */
export interface Request {
  readonly op: string;
  readonly shape: ReadonlyArray<number>;
}

/** Threads of a block in kernels with a thread an element. */
export const threads = 256;

const inWords = (shape: ReadonlyArray<number>): string => `[${shape.join(", ")}]`;

/** Numbers as they lie on the GPU: float32, or int32, which is also what a bool is there. */
const deviceArray = (values: Values, dtype: tf.DataType): Float32Array | Int32Array => {
  if (dtype === "float32")
    return values instanceof Float32Array ? values : Float32Array.from(values as never);
  return values instanceof Int32Array ? values : Int32Array.from(values as never);
};

/** What tfjs wants of a type, from the bits that lie on the GPU. */
export const arrayOf = (dtype: tf.DataType, content: ArrayBuffer): Values => {
  if (dtype === "float32") return new Float32Array(content);
  return dtype === "bool" ? Uint8Array.from(new Int32Array(content)) : new Int32Array(content);
};

/** Whether a tensor lies in bf16 alone. */
export const liesRounded = ({ block, values }: TensorData): boolean =>
  block === undefined && values === undefined;

/** Brings the numbers of tensors into the form that is wanted. */
export class Forms {
  readonly #device: Device;
  readonly #allocator: Allocator;

  constructor(device: Device, allocator: Allocator) {
    this.#device = device;
    this.#allocator = allocator;
  }

  /** Memory for numbers of four bytes. */
  take(size: number, { op, shape }: Request): Block {
    return this.#allocator.take(4 * size, op, inWords(shape));
  }

  takeRounded(size: number, { op, shape }: Request): Block {
    return this.#allocator.take(2 * size, op, `${inWords(shape)} in bf16`);
  }

  /** The numbers as float32 or int32. */
  exact(data: TensorData, request: Request): Block {
    if (data.block) return data.block;
    if (data.dtype === "string" || data.dtype === "complex64") {
      throw new TypeError(`Cannot run ${request.op}: the cuda backend has no ${data.dtype} numbers`);
    }
    const block = this.take(data.size, request);
    data.block = block;
    if (data.values) this.copyIn(block, deviceArray(data.values, data.dtype));
    else this.#convert("from_bf16_array", data.bf16!, block, data.size);
    data.values = undefined;
    return block;
  }

  /** The numbers rounded to bf16. */
  rounded(data: TensorData, request: Request): Block {
    if (data.bf16) return data.bf16;
    const from = this.exact(data, request);
    data.bf16 = this.takeRounded(data.size, request);
    this.#convert("to_bf16_array", from, data.bf16, data.size);
    return data.bf16;
  }

  /** Frees the copy in bf16 of numbers that were changed. */
  forgetRounded(data: TensorData): void {
    if (data.bf16) this.#allocator.give(data.bf16);
    data.bf16 = undefined;
  }

  copyIn(block: Block, content: Float32Array | Int32Array): void {
    if (content.length === 0) return;
    // Pageable memory is copied away before the call returns.
    this.#device.driver.cuMemcpyHtoD(block.pointer, content, content.byteLength, this.#device.stream);
  }

  #convert(kernel: string, from: Block, to: Block, size: number): void {
    if (size === 0) return;
    const launch = { grid: Math.ceil(size / (4 * threads)), block: threads };
    const args = [{ pointer: from.pointer }, { pointer: to.pointer }, { i32: size }];
    this.#device.launch("convert", kernel, launch, args);
  }
}
