import { MathBackendCPU } from "@tensorflow/tfjs-backend-cpu";
import type * as tf from "@tensorflow/tfjs-core";
import { engine } from "@tensorflow/tfjs-core";
import type { NativeAddon } from "./addon.ts";
import { BufferPool } from "./buffer_pool.ts";

type DataId = tf.DataId;
type Elements = Float32Array | Int32Array | Uint8Array;

/** The data of a tensor that a native kernel made. */
class NativeData {
  readonly dtype: tf.DataType;
  readonly array: Elements;
  refCount = 1;
  /** Counts the kernels that wrote to the array in place. */
  writes = 0;
  /** What the gradient kernel of this output needs: pre-activations, means, log-sum-exps. */
  auxiliary: ReadonlyArray<Float32Array> = [];

  constructor(array: Elements, dtype: tf.DataType) {
    this.array = array;
    this.dtype = dtype;
  }

  #copy: Elements | undefined;

  /** What stock cpu kernels read: a copy, for their outputs may share it (a slice is a view of its input). */
  get values(): Elements {
    this.#copy ??= this.array.slice();
    return this.#copy;
  }

  /** The array for writing in place. */
  writable(): Elements {
    this.#copy = undefined;
    this.writes++;
    return this.array;
  }
}

/** Throws a TypeError when a tensor that a kernel is to read was disposed. */
export const refuseDisposed = (op: string, name: string, tensor: tf.TensorInfo | undefined): void => {
  if ((tensor as Partial<tf.Tensor> | undefined)?.isDisposed) {
    throw new TypeError(`Cannot run ${op}: ${name} is disposed`);
  }
};

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((size, dim) => size * dim, 1);

/** The C++ backend of tfjs: stock cpu semantics and storage, arrays from a pool, hot kernels in the addon. */
export class NativeBackend extends MathBackendCPU {
  readonly addon: NativeAddon;
  readonly pool: BufferPool;
  #created: DataId[] = [];

  constructor(addon: NativeAddon) {
    super();
    this.addon = addon;
    this.pool = new BufferPool(addon);
    // Without this tfjs prints an advertisement for tfjs-node at its first tensor.
    (this as unknown as { firstUse: boolean }).firstUse = false;
  }

  /** Runs a kernel; when it throws, the outputs that it had made are freed. */
  transact<A>(run: () => A): A {
    this.#created = [];
    try {
      return run();
    } catch (error) {
      for (const dataId of this.#created) this.disposeData(dataId, true);
      throw error;
    }
  }

  /** A float32 output of arbitrary contents. */
  floatOutput(shape: ReadonlyArray<number>): { info: tf.TensorInfo; array: Float32Array } {
    const array = this.pool.take(sizeOf(shape));
    return { info: this.output(shape, "float32", array), array };
  }

  output(shape: ReadonlyArray<number>, dtype: tf.DataType, array: Elements): tf.TensorInfo {
    const dataId: DataId = {};
    this.data.set(dataId, new NativeData(array, dtype));
    this.#created.push(dataId);
    return { dataId, shape: [...shape], dtype };
  }

  /** Keeps arrays with an output for its gradient kernel; they are freed with it. */
  keepWith(output: tf.TensorInfo, auxiliary: ReadonlyArray<Float32Array>): void {
    (this.data.get(output.dataId) as unknown as NativeData).auxiliary = auxiliary;
  }

  /** What `keepWith` kept, in its order. */
  keptWith(op: string, output: tf.TensorInfo): ReadonlyArray<Float32Array> {
    const data = this.data.get(output.dataId) as unknown as NativeData;
    if (data instanceof NativeData && data.auxiliary.length > 0) return data.auxiliary;
    throw new TypeError(`Cannot run ${op}: y must be the output of the forward kernel`);
  }

  /** The elements of a tensor, for reading within one kernel. */
  array(tensor: tf.TensorInfo): Elements {
    const data = this.data.get(tensor.dataId) as unknown as NativeData;
    return data instanceof NativeData ? data.array : (data as { values: Elements }).values;
  }

  /** The elements of a float32 tensor. */
  floats(op: string, name: string, tensor: tf.TensorInfo): Float32Array {
    refuseDisposed(op, name, tensor);
    if (tensor.dtype === "float32") {
      const array = this.array(tensor);
      return array instanceof Float32Array ? array : Float32Array.from(array);
    }
    throw new TypeError(`Cannot run ${op}: ${name} must be float32, got ${tensor.dtype}`);
  }

  /** What changes when the elements of a tensor do: its data, and how often that was written in place. */
  contentOf(tensor: tf.TensorInfo): { readonly data: object; readonly writes: number } {
    const data = this.data.get(tensor.dataId) as unknown as NativeData;
    return { data, writes: data instanceof NativeData ? data.writes : 0 };
  }

  /** The elements of an int32 tensor. */
  ints(op: string, name: string, tensor: tf.TensorInfo): Int32Array {
    refuseDisposed(op, name, tensor);
    if (tensor.dtype === "int32") {
      const array = this.array(tensor);
      return array instanceof Int32Array ? array : Int32Array.from(array);
    }
    throw new TypeError(`Cannot run ${op}: ${name} must be int32, got ${tensor.dtype}`);
  }

  /** The elements of a float32 tensor for writing in place, if nobody shares them. */
  ownedFloats(tensor: tf.TensorInfo): Float32Array | undefined {
    const data = this.data.get(tensor.dataId) as unknown as NativeData;
    const owned = data instanceof NativeData && data.refCount === 1 && data.dtype === "float32";
    return owned ? (data.writable() as Float32Array) : undefined;
  }

  /**
   * The elements of a tensor for writing in place. Where the array has another owner (a clone, the array that the
   * tensor was made from), the tensor gets a copy of its own first.
   */
  writableFloats(op: string, name: string, tensor: tf.TensorInfo): Float32Array {
    const array = this.floats(op, name, tensor);
    const owned = this.ownedFloats(tensor);
    if (owned) return owned;
    const data = this.data.get(tensor.dataId) as unknown as NativeData;
    const copy = this.pool.take(array.length);
    copy.set(array);
    if (data.refCount === 1) {
      this.data.set(tensor.dataId, new NativeData(copy, "float32"));
      return copy;
    }
    const variable = tensor as tf.Variable;
    if (typeof variable.assign !== "function") {
      throw new TypeError(
        `Cannot run ${op}: ${name} shares its data and is no variable, so it cannot change in place`,
      );
    }
    const replacement = engine().makeTensorFromTensorInfo(this.output(tensor.shape, "float32", copy), this);
    variable.assign(replacement);
    replacement.dispose();
    return copy;
  }

  /** Gives all memory that is only held for reuse back to the system. */
  trim(): void {
    this.pool.trim();
    this.addon.releaseScratch();
  }

  /** What `data()` gives the user is a copy: the array itself goes back to the pool or changes in place. */
  override readSync(dataId: DataId): tf.backend_util.BackendValues {
    const data = this.data.get(dataId) as unknown as NativeData;
    return data instanceof NativeData ? data.array.slice() : super.readSync(dataId);
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const data = this.data.has(dataId) ? (this.data.get(dataId) as unknown as NativeData) : undefined;
    if (!(data instanceof NativeData)) return super.disposeData(dataId, force);
    data.refCount--;
    if (!force && data.refCount > 0) return false;
    if (data.array instanceof Float32Array) this.pool.give(data.array);
    for (const array of data.auxiliary) this.pool.give(array);
    this.data.delete(dataId);
    return true;
  }
}
