import { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import * as tf from "@tensorflow/tfjs-core";
import type { Program } from "./_program.ts";
import { BufferPool } from "./buffer_pool.ts";

type DataId = tf.DataId;

/** What tfjs keeps of a tensor, with what a gradient kernel wants of its forward kernel. */
interface TensorData {
  values: tf.backend_util.BackendValues | null;
  readonly dtype: tf.DataType;
  readonly shape: number[];
  refCount: number;
  resource?: GPUBuffer;
  readonly complexTensorInfos?: object;
  /** Means or log-sum-exps; freed with the tensor. */
  auxiliary?: ReadonlyArray<tf.TensorInfo>;
}

/** What of tfjs's backend this one uses although its types hide it. */
interface Hidden {
  commandEncoder: GPUCommandEncoder;
  computePassEncoder: GPUComputePassEncoder | null;
  commandQueueOwnedIds: WeakSet<DataId>;
  dispatchCountInPass: number;
  uniformPendingDisposal: GPUBuffer[];
  tensorToBinding(tensor?: tf.TensorInfo): GPUBufferBinding | null;
}

export const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((size, dim) => size * dim, 1);

/**
 * tfjs's WebGPU backend with a device of our own, bounded memory, in-place kernels, and errors of the GPU that reach
 * the program: WebGPU itself only tells of them on the side and goes on with zeros.
 */
export class WebGpuBackend extends WebGPUBackend {
  readonly pool: BufferPool;
  /** Log-probabilities from hidden states hold at most about this many logits at once (64 MiB). */
  logitsPerChunk = 2 ** 24;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  #failure: Error | undefined;

  constructor(device: GPUDevice, info: GPUAdapterInfo | undefined) {
    super(device, info);
    this.pool = new BufferPool(device);
    (this as unknown as { bufferManager: BufferPool }).bufferManager = this.pool;
    // A tensor's own bytes, not all of a reused buffer: products read on behind them, and multiply what they find by 0.
    this.#hidden.tensorToBinding = (tensor) => {
      if (!tensor) return null;
      const { resource, shape } = this.dataOf(tensor);
      return { buffer: resource!, size: 4 * Math.max(1, sizeOf(shape)) };
    };
    device.addEventListener("uncapturederror", ({ error }) => {
      this.#failure ??= new Error(`WebGPU: ${error.message}`);
    });
    device.lost.then(({ message }) => {
      this.#failure ??= new Error(`WebGPU: the device is lost. ${message}`);
    });
  }

  get #hidden(): Hidden {
    return this as unknown as Hidden;
  }

  dataOf(tensor: { readonly dataId: DataId }): TensorData {
    return this.tensorMap.get(tensor.dataId) as unknown as TensorData;
  }

  /** The GPU buffer of a tensor, possibly longer than it; what only the CPU has is uploaded. */
  bufferOf({ dataId }: { readonly dataId: DataId }): GPUBuffer {
    this.uploadToGPU(dataId);
    return this.dataOf({ dataId }).resource!;
  }

  /** An output of arbitrary contents. */
  output(shape: ReadonlyArray<number>, dtype: "float32" | "int32" = "float32"): tf.TensorInfo {
    const info = this.makeTensorInfo([...shape], dtype);
    this.uploadToGPU(info.dataId);
    return info;
  }

  /** An output of zeros. */
  zeros(shape: ReadonlyArray<number>): tf.TensorInfo {
    const info = this.output(shape);
    this.ensureCommandEncoderReady();
    this.endComputePassEncoder();
    this.#hidden.commandEncoder.clearBuffer(this.bufferOf(info));
    this.#hidden.commandQueueOwnedIds.add(info.dataId);
    return info;
  }

  /** Keeps tensors with an output for its gradient kernel; they are freed with it. */
  keepWith(output: tf.TensorInfo, auxiliary: ReadonlyArray<tf.TensorInfo>): void {
    this.dataOf(output).auxiliary = auxiliary;
  }

  /** What `keepWith` kept, in its order. */
  keptWith(op: string, output: tf.TensorInfo): ReadonlyArray<tf.TensorInfo> {
    const { auxiliary } = this.dataOf(output);
    if (!auxiliary) throw new TypeError(`Cannot run ${op}: y must be the output of the forward kernel`);
    return auxiliary;
  }

  free(...tensors: ReadonlyArray<tf.TensorInfo>): void {
    for (const { dataId } of tensors) this.disposeData(dataId);
  }

  /**
   * Enqueues a program. Programs run in the order of the calls, and each sees what the ones before it wrote.
   *
   * @param options.groups how many workgroups; the last ones may be too many, which the program must heed
   */
  run<Names extends string, Ints extends string, Floats extends string>(
    program: Program<Names, Ints, Floats>,
    options: { readonly groups: number } & {
      readonly tensors: Readonly<Record<Names, tf.TensorInfo>>;
      readonly uniforms: Readonly<Record<Ints | Floats, number>>;
    },
  ): void {
    if (options.groups === 0) return; // outputs without elements
    const hidden = this.#hidden;
    const tensors = program.buffers.map((name) => options.tensors[name]);
    const buffers = tensors.map((tensor) => this.bufferOf(tensor));
    const valuesOf = (names: ReadonlyArray<Ints | Floats>) => names.map((name) => options.uniforms[name]);
    buffers.push(this.#uniformBuffer(valuesOf(program.ints), valuesOf(program.floats)));
    for (const { dataId } of tensors) hidden.commandQueueOwnedIds.add(dataId);
    const pipeline = this.#pipeline(program);
    const bindGroup = this.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    this.ensureCommandEncoderReady();
    hidden.computePassEncoder ??= hidden.commandEncoder.beginComputePass();
    const pass = hidden.computePassEncoder;
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    const widest = this.device.limits.maxComputeWorkgroupsPerDimension;
    const x = Math.min(options.groups, widest);
    pass.dispatchWorkgroups(x, Math.ceil(options.groups / x));
    if (++hidden.dispatchCountInPass >= tf.env().getNumber("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE")) {
      this.endComputePassEncoder();
      this.submitQueue();
    }
  }

  /** Enqueues a copy of `count` elements, 4 bytes each. */
  copy(
    from: { readonly tensor: tf.TensorInfo; readonly start: number },
    to: { readonly tensor: tf.TensorInfo; readonly start: number },
    count: number,
  ): void {
    const hidden = this.#hidden;
    const [source, target] = [this.bufferOf(from.tensor), this.bufferOf(to.tensor)];
    this.ensureCommandEncoderReady();
    this.endComputePassEncoder();
    hidden.commandEncoder.copyBufferToBuffer(source, 4 * from.start, target, 4 * to.start, 4 * count);
    for (const { tensor } of [from, to]) hidden.commandQueueOwnedIds.add(tensor.dataId);
  }

  /**
   * The tensor, ready to be changed in place. Where its data has another owner (a clone, a reference model), it gets
   * data of its own first.
   */
  writable(op: string, name: string, tensor: tf.TensorInfo): tf.TensorInfo {
    if (this.dataOf(tensor).refCount === 1) return tensor;
    const variable = tensor as tf.Variable;
    if (typeof variable.assign !== "function") {
      throw new TypeError(
        `Cannot run ${op}: ${name} shares its data and is no variable, so it cannot change in place`,
      );
    }
    const copy = this.output(tensor.shape);
    this.copy({ tensor, start: 0 }, { tensor: copy, start: 0 }, sizeOf(tensor.shape));
    const replacement = tf.engine().makeTensorFromTensorInfo(copy, this);
    variable.assign(replacement);
    replacement.dispose();
    return variable;
  }

  /** Gives all memory that is only held for reuse back to the system. */
  trim(): void {
    this.pool.trim();
  }

  /**
   * The numbers of a tensor, a copy. tfjs's own version reads whole buffers and keeps a second copy on the CPU.
   *
   * @throws Error that says what the GPU reported, when anything went wrong on it up to here
   */
  override async read(dataId: DataId): Promise<tf.backend_util.BackendValues> {
    const { values, resource, dtype, shape, complexTensorInfos } = this.dataOf({ dataId });
    if (values) return values.slice() as tf.backend_util.BackendValues;
    if (complexTensorInfos) return super.read(dataId);
    const bytes = 4 * sizeOf(shape);
    const staging = this.pool.acquireBuffer(bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    this.ensureCommandEncoderReady();
    this.endComputePassEncoder();
    this.#hidden.commandEncoder.copyBufferToBuffer(resource!, 0, staging, 0, bytes);
    this.submitQueue();
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    } catch (cause) {
      throw this.#failure ?? cause;
    }
    const content = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    this.pool.releaseBuffer(staging);
    if (this.#failure) throw this.#failure;
    return tf.util.convertBackendValuesAndArrayBuffer(content, dtype) as tf.backend_util.BackendValues;
  }

  /** Only what never left the CPU can be read at once. */
  override readSync(dataId: DataId): tf.backend_util.BackendValues {
    const { values, shape } = this.dataOf({ dataId });
    if (values) return values;
    throw new TypeError(
      `Cannot read a tensor [${shape.join(", ")}] from the GPU at once: use await data() in place of dataSync()`,
    );
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const data = this.tensorMap.has(dataId) ? this.dataOf({ dataId }) : undefined;
    if (data?.auxiliary && (force || data.refCount === 1)) this.free(...data.auxiliary);
    return super.disposeData(dataId, force);
  }

  #uniformBuffer(ints: ReadonlyArray<number>, floats: ReadonlyArray<number>): GPUBuffer {
    const bytes = Math.max(16, Math.ceil((ints.length + floats.length) / 4) * 16);
    const content = new ArrayBuffer(bytes);
    new Uint32Array(content).set(ints);
    new Float32Array(content, 4 * ints.length).set(floats);
    const buffer = this.pool.acquireBuffer(bytes, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.queue.writeBuffer(buffer, 0, content);
    this.#hidden.uniformPendingDisposal.push(buffer);
    return buffer;
  }

  #pipeline({ key, code }: Program): GPUComputePipeline {
    const known = this.#pipelines.get(key);
    if (known) return known;
    const module = this.device.createShaderModule({ label: key, code });
    const descriptor = { label: key, layout: "auto", compute: { module, entryPoint: "main" } } as const;
    const pipeline = this.device.createComputePipeline(descriptor);
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }
}
