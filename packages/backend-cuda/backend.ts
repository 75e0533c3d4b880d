import * as tf from "@tensorflow/tfjs-core";
import { Allocator } from "./allocator.ts";
import type { Device, Graph, Launch, Scalar } from "./device.ts";
import { addressOf, copyOf, outputOf } from "./driver.ts";
import type { ProductWithEpilogue } from "./epilogues.ts";
import { type Precision, type Product, Products } from "./products.ts";
import { Staging } from "./staging.ts";
import { arrayOf, Forms, liesRounded, type TensorData, threads, type Values } from "./tensor_data.ts";

type DataId = tf.DataId;

/** An argument of a kernel; a plain number is an int, a tensor its address, `null` no address. */
export type Argument =
  | tf.TensorInfo
  | number
  | null
  | Scalar
  /** The address of an element of a tensor. */
  | { readonly at: tf.TensorInfo; readonly offset: number }
  /** The address of a tensor's numbers rounded to bf16. */
  | { readonly bf16: tf.TensorInfo }
  /** Of a tensor as it lies, in float32 or bf16: a `Stored` of kernels/stored.cuh. */
  | { readonly stored: tf.TensorInfo }
  /** Where the kernel leaves a tensor's rounded copy, see `copyTarget`; a `Stored` too. */
  | { readonly copyOf: tf.TensorInfo };

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((size, dim) => size * dim, 1);

/** Kernels count elements in 32 bits. */
const mostElements = 2 ** 31 - 1;

/** The tfjs backend "cuda": tensors in the memory of one GPU, kernels in the order of the calls. */
export class CudaBackend extends tf.KernelBackend {
  readonly device: Device;
  readonly allocator: Allocator;
  readonly products: Products;
  /** The kernel that runs, for messages. */
  op = "an operation";
  readonly #data: tf.DataStorage<TensorData>;
  readonly #staging: Staging;
  readonly #forms: Forms;
  #created: DataId[] = [];
  #totalMemory: number | undefined;

  constructor(device: Device, precision: Precision) {
    super();
    this.device = device;
    this.allocator = new Allocator(device.driver);
    this.#staging = new Staging(device.driver);
    this.#forms = new Forms(device, this.allocator);
    this.products = new Products(device, this.allocator, precision);
    this.#data = new tf.DataStorage(this, tf.engine());
  }

  /** How matrix products are computed: see the README. */
  get precision(): Precision {
    return this.products.precision;
  }
  set precision(precision: Precision) {
    this.products.precision = precision;
  }

  /** Whether operands of products are rounded to bf16, and activations lie so. */
  get rounds(): boolean {
    return this.precision === "bf16";
  }

  /** The most bytes that tensors can take: what the GPU has in all, or RLHF_CUDA_MEMORY. */
  get memoryLimit(): number {
    this.#totalMemory ??= outputOf((output) => this.device.driver.cuMemGetInfo([0], output));
    return Math.min(this.allocator.limit, this.#totalMemory);
  }

  /** Runs a kernel of tfjs; when it throws, the outputs that it had made are freed. */
  transact<A>(op: string, run: () => A): A {
    const [outerOp, outerCreated] = [this.op, this.#created];
    this.op = op;
    this.#created = [];
    try {
      return run();
    } catch (error) {
      for (const dataId of this.#created) this.disposeData(dataId, true);
      throw error;
    } finally {
      this.op = outerOp;
      this.#created = outerCreated;
    }
  }

  /** An output of arbitrary contents. */
  output(shape: ReadonlyArray<number>, dtype: tf.DataType = "float32"): tf.TensorInfo {
    return this.#output(shape, dtype, false);
  }

  /** The same for what products, attention and the fused kernels read: in bf16 alone where products round. */
  activation(shape: ReadonlyArray<number>): tf.TensorInfo {
    return this.#output(shape, "float32", this.rounds);
  }

  #output(shape: ReadonlyArray<number>, dtype: tf.DataType, rounded: boolean): tf.TensorInfo {
    const size = sizeOf(shape);
    if (size > mostElements) {
      throw new RangeError(
        `Cannot run ${this.op}: a tensor has at most ${mostElements} elements, got [${shape.join(", ")}]`,
      );
    }
    const dataId: DataId = {};
    this.#data.set(dataId, {
      dtype,
      size,
      refCount: 1,
      values: undefined,
      block: rounded ? undefined : this.#forms.take(size, { op: this.op, shape }),
      bf16: rounded ? this.#forms.takeRounded(size, { op: this.op, shape }) : undefined,
      auxiliary: [],
    });
    this.#created.push(dataId);
    return { dataId, shape: [...shape], dtype };
  }

  /** An output whose elements are all this number. */
  filled(shape: ReadonlyArray<number>, value: number, dtype: tf.DataType = "float32"): tf.TensorInfo {
    const info = this.output(shape, dtype);
    const size = sizeOf(shape);
    if (size > 0) {
      const bits = new Uint32Array((dtype === "float32" ? Float32Array : Int32Array).of(value).buffer)[0]!;
      this.device.driver.cuMemsetD32(this.pointerOf(info), bits, size, this.device.stream);
    }
    return info;
  }

  zeros(shape: ReadonlyArray<number>): tf.TensorInfo {
    return this.filled(shape, 0);
  }

  /** The numbers of an array as a tensor of the GPU's; 64-bit numbers become two elements each. */
  upload(array: Float32Array | Int32Array | BigUint64Array, shape?: ReadonlyArray<number>): tf.TensorInfo {
    const content =
      array instanceof BigUint64Array
        ? new Int32Array(array.buffer, array.byteOffset, 2 * array.length)
        : array;
    const info = this.output(
      shape ?? [content.length],
      content instanceof Float32Array ? "float32" : "int32",
    );
    this.#forms.copyIn(this.dataOf(info).block!, content);
    return info;
  }

  dataOf({ dataId }: { readonly dataId: DataId }): TensorData {
    return this.#data.get(dataId);
  }

  /** The address of a tensor's numbers in float32 (int32) on the GPU; what is not there in that form yet is brought. */
  pointerOf(tensor: tf.TensorInfo): number {
    return this.#forms.exact(this.dataOf(tensor), { op: this.op, shape: tensor.shape }).pointer;
  }

  /** The address of a tensor's numbers rounded to bf16. */
  bf16Of(tensor: tf.TensorInfo): number {
    return this.#forms.rounded(this.dataOf(tensor), { op: this.op, shape: tensor.shape }).pointer;
  }

  /** Whether a tensor lies in bf16 alone. */
  liesRounded(tensor: tf.TensorInfo): boolean {
    return liesRounded(this.dataOf(tensor));
  }

  /**
   * Where a kernel that has the numbers of a float32 tensor at hand leaves them rounded to bf16 as well, which spares
   * products another pass over memory; no address where products do not round, or where the copy exists.
   */
  copyTarget(tensor: tf.TensorInfo): number {
    const data = this.dataOf(tensor);
    if (!this.rounds || data.bf16) return 0;
    data.bf16 = this.#forms.takeRounded(data.size, { op: this.op, shape: tensor.shape });
    return data.bf16.pointer;
  }

  /** To be told after a kernel changed a float32 tensor in place: its bf16 copy is stale. */
  written(tensor: tf.TensorInfo): void {
    this.#forms.forgetRounded(this.dataOf(tensor));
  }

  /** Enqueues a kernel of `kernels/<module>.cu`; without a block to run it does nothing. */
  launch(module: string, name: string, launch: Launch, args: ReadonlyArray<Argument>): void {
    const grid = typeof launch.grid === "number" ? [launch.grid] : launch.grid;
    if (grid.some((blocks) => blocks === 0)) return;
    this.device.launch(
      module,
      name,
      launch,
      args.map((arg) => this.#scalar(arg)),
    );
  }

  /** Enqueues a kernel with a thread for each of `size` elements. */
  launchEach(module: string, name: string, size: number, args: ReadonlyArray<Argument>): void {
    this.launch(module, name, { grid: Math.ceil(size / threads), block: threads }, args);
  }

  /** Enqueues C = A B (+ C), row by row. */
  gemm(product: Product): void {
    this.products.run(this, product);
  }

  /** Enqueues a product with what follows it; false where that takes a kernel of its own, and nothing was enqueued. */
  gemmWithEpilogue(product: ProductWithEpilogue): boolean {
    return this.products.runWithEpilogue(this, product);
  }

  /** Records launches; the tensors that they use must be kept for as long as the graph is. */
  capture(run: () => void): Graph {
    return this.device.capture(run);
  }

  /** Keeps tensors with an output for its gradient kernel; they are freed with it. */
  keepWith(output: tf.TensorInfo, auxiliary: ReadonlyArray<tf.TensorInfo>): void {
    this.dataOf(output).auxiliary = auxiliary;
  }

  /** What `keepWith` kept, in its order. */
  keptWith(op: string, output: tf.TensorInfo): ReadonlyArray<tf.TensorInfo> {
    const { auxiliary } = this.dataOf(output);
    if (auxiliary.length === 0)
      throw new TypeError(`Cannot run ${op}: y must be the output of the forward kernel`);
    return auxiliary;
  }

  free(...tensors: ReadonlyArray<tf.TensorInfo>): void {
    for (const { dataId } of tensors) this.disposeData(dataId);
  }

  /**
   * The tensor, ready to be changed in place by the next launch. Where its data has another owner (a clone, a reference
   * model), it gets data of its own first.
   */
  writable(op: string, name: string, tensor: tf.TensorInfo): tf.TensorInfo {
    const data = this.dataOf(tensor);
    if (data.refCount === 1) {
      this.pointerOf(tensor);
      this.written(tensor);
      return tensor;
    }
    const variable = tensor as tf.Variable;
    if (typeof variable.assign !== "function") {
      throw new TypeError(
        `Cannot run ${op}: ${name} shares its data and is no variable, so it cannot change in place`,
      );
    }
    const copy = this.output(tensor.shape);
    const { driver, stream } = this.device;
    driver.cuMemcpyDtoD(this.pointerOf(copy), this.pointerOf(tensor), 4 * data.size, stream);
    // The transaction must not free what the variable now owns.
    this.#created = this.#created.filter((dataId) => dataId !== copy.dataId);
    const replacement = tf.engine().makeTensorFromTensorInfo(copy, this);
    variable.assign(replacement);
    replacement.dispose();
    return variable;
  }

  /** The same data under another shape. */
  relabelled(tensor: tf.TensorInfo, shape: ReadonlyArray<number>): tf.TensorInfo {
    this.incRef(tensor.dataId);
    return { dataId: tensor.dataId, shape: [...shape], dtype: tensor.dtype };
  }

  /** Gives all memory that is only held for reuse back to the GPU. */
  trim(): void {
    this.allocator.trim();
  }

  /** The numbers of a tensor, a copy; other work of the program goes on until the GPU has them. */
  override async read(dataId: DataId): Promise<Values> {
    const { values, size, dtype } = this.dataOf({ dataId });
    if (values) return values.slice() as Values;
    if (size === 0) return arrayOf(dtype, new ArrayBuffer(0));
    const { driver, stream } = this.device;
    const bytes = 4 * size;
    const from = this.pointerOf({ dataId, shape: [size], dtype });
    // Memory that the GPU can write to while the program runs. The copy is enqueued now, before later changes in place.
    const buffer = this.#staging.take(bytes);
    driver.cuMemcpyDtoH(buffer.address, from, bytes, stream);
    await this.device.finished();
    const content = copyOf(buffer.address, bytes);
    this.#staging.give(buffer);
    return arrayOf(dtype, content);
  }

  /** The numbers of a tensor; blocks until the GPU has them. */
  override readSync(dataId: DataId): Values {
    const { values, size, dtype } = this.dataOf({ dataId });
    if (values) return values;
    const content = new Int32Array(size);
    if (size > 0) {
      const from = this.pointerOf({ dataId, shape: [size], dtype });
      this.device.driver.cuMemcpyDtoH(addressOf(content), from, 4 * size, this.device.stream);
      this.device.synchronize();
    }
    return arrayOf(dtype, content.buffer);
  }

  override write(values: Values, shape: number[], dtype: tf.DataType): DataId {
    const dataId: DataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(dataId: DataId, values: Values, shape: number[], dtype: tf.DataType, refCount: number): void {
    const size = sizeOf(shape);
    this.#data.set(dataId, {
      dtype,
      size,
      refCount,
      values,
      block: undefined,
      bf16: undefined,
      auxiliary: [],
    });
  }

  override disposeData(dataId: DataId, force = false): boolean {
    if (!this.#data.has(dataId)) return true;
    const data = this.dataOf({ dataId });
    data.refCount--;
    if (!force && data.refCount > 0) return false;
    if (data.block) this.allocator.give(data.block);
    if (data.bf16) this.allocator.give(data.bf16);
    this.free(...data.auxiliary);
    this.#data.delete(dataId);
    return true;
  }

  override refCount(dataId: DataId): number {
    return this.#data.has(dataId) ? this.dataOf({ dataId }).refCount : 0;
  }
  override incRef(dataId: DataId): void {
    this.dataOf({ dataId }).refCount++;
  }
  decRef(dataId: DataId): void {
    if (this.#data.has(dataId)) this.dataOf({ dataId }).refCount--;
  }
  override numDataIds(): number {
    return this.#data.numDataIds();
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
  override timerAvailable(): boolean {
    return false;
  }
  override memory(): { unreliable: boolean; numBytesInGPU: number; numBytesAllocatedInGPU: number } {
    const { bytesInUse, bytesAllocated } = this.allocator;
    return { unreliable: false, numBytesInGPU: bytesInUse, numBytesAllocatedInGPU: bytesAllocated };
  }

  #scalar(arg: Argument): Scalar {
    if (arg === null) return { pointer: 0 };
    if (typeof arg === "number") return { i32: arg };
    if ("dataId" in arg) return { pointer: this.pointerOf(arg) };
    if ("at" in arg) return { pointer: this.pointerOf(arg.at) + 4 * arg.offset };
    if ("bf16" in arg) return { pointer: this.bf16Of(arg.bf16) };
    if ("stored" in arg) {
      const rounded = this.liesRounded(arg.stored);
      return { pointer: rounded ? this.bf16Of(arg.stored) + liesInBf16 : this.pointerOf(arg.stored) };
    }
    if ("copyOf" in arg) {
      const target = this.copyTarget(arg.copyOf);
      return { pointer: target && target + liesInBf16 };
    }
    return arg;
  }
}

/** The bit of an address that marks bf16, as in kernels/stored.cuh. */
const liesInBf16 = 1;
