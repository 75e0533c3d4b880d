/** One GPU: its context and stream, its kernels, and graphs of launches. Everything runs in the order of the calls. */
import { type Compiler, makeCompiler } from "./compiler.ts";
import {
  addressOf,
  type Cublas,
  type CublasLt,
  type Driver,
  loadCublas,
  loadCublasLt,
  loadDriver,
  loadNvrtc,
  outputOf,
} from "./driver.ts";
import { kernelSource } from "./sources.ts";

/** CUdevice_attribute, CUfunction_attribute and flags of cuda.h. */
const attribute = { multiprocessors: 16, capabilityMajor: 75, capabilityMinor: 76, sharedMemoryOptIn: 97 };
const maxDynamicSharedBytes = 8;
const nonBlocking = 1;
const withoutTiming = 2;
const relaxed = 2;

/** An argument of a kernel, by the type that the kernel declares. */
export type Scalar =
  | { readonly i32: number }
  | { readonly f32: number }
  | { readonly i64: number }
  | { readonly pointer: number }
  /** A struct of ints, by value. */
  | { readonly ints: ReadonlyArray<number> };

/** How many blocks and threads run a kernel. */
export interface Launch {
  readonly grid: number | readonly [x: number, y: number, z?: number];
  readonly block: number | readonly [x: number, y: number, z?: number];
  /** Bytes of dynamic shared memory. */
  readonly shared?: number;
}

interface Kernel {
  readonly handle: number;
  /** Undefined where the driver cannot tell. */
  readonly parameterSizes: ReadonlyArray<number> | undefined;
  /** The dynamic shared memory that it may use. */
  shared: number;
}

/** Launches that were recorded once and are started together. */
export interface Graph {
  launch(): void;
  dispose(): void;
}

const maxParameters = 64;
/** Room for the values of all parameters, in units of 8 bytes. */
const room = 512;
/** What a kernel gets without asking for more. */
const plainShared = 48 * 1024;

const extent = (size: Launch["grid"]): readonly [number, number, number] =>
  typeof size === "number" ? [size, 1, 1] : [size[0], size[1], size[2] ?? 1];

export class Device {
  readonly driver: Driver;
  readonly cublas: Cublas;
  readonly cublasHandle: number;
  readonly cublasLt: CublasLt;
  readonly stream: number;
  readonly name: string;
  /** 90 for compute capability 9.0. */
  readonly capability: number;
  readonly multiprocessors: number;
  readonly #compiler: Compiler;
  readonly #sharedLimit: number;
  readonly #modules = new Map<string, number>();
  readonly #kernels = new Map<string, Kernel>();
  // One block of arguments for all launches: the driver copies what it needs before it returns.
  readonly #values = new ArrayBuffer(8 * room);
  readonly #ints = new Int32Array(this.#values);
  readonly #words = new Uint32Array(this.#values);
  readonly #floats = new Float32Array(this.#values);
  readonly #longs = new BigInt64Array(this.#values);
  readonly #valuesAddress = BigInt(addressOf(this.#ints));
  readonly #places = new BigUint64Array(maxParameters);
  readonly #placesAddress = addressOf(this.#places);

  /**
   * Takes the first GPU that CUDA_VISIBLE_DEVICES leaves.
   *
   * @throws CudaUnavailable when a library, the driver or the GPU is missing
   */
  constructor() {
    const { driver, major } = loadDriver();
    const nvrtc = loadNvrtc(major);
    this.cublas = loadCublas(major);
    this.cublasLt = loadCublasLt(major);
    this.driver = driver;
    const device = outputOf((output) => driver.cuDeviceGet(output, 0));
    driver.cuCtxSetCurrent(outputOf((output) => driver.cuDevicePrimaryCtxRetain(output, device)));
    const attributeOf = (which: number) =>
      outputOf((output) => driver.cuDeviceGetAttribute(output, which, device));
    const name = new Uint8Array(256);
    driver.cuDeviceGetName(name, name.length, device);
    this.name = new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
    this.capability = 10 * attributeOf(attribute.capabilityMajor) + attributeOf(attribute.capabilityMinor);
    this.multiprocessors = attributeOf(attribute.multiprocessors);
    this.#sharedLimit = attributeOf(attribute.sharedMemoryOptIn);
    this.#compiler = makeCompiler(nvrtc, this.capability);
    this.stream = outputOf((output) => driver.cuStreamCreate(output, nonBlocking));
    this.cublasHandle = outputOf((output) => this.cublas.cublasCreate(output));
    this.cublas.cublasSetStream(this.cublasHandle, this.stream);
  }

  /**
   * Enqueues a kernel of `kernels/<module>.cu`.
   *
   * @throws TypeError when the arguments are not those of the kernel, RangeError when it cannot run so many threads
   */
  launch(module: string, name: string, launch: Launch, args: ReadonlyArray<Scalar>): void {
    const kernel = this.#kernels.get(name) ?? this.#load(module, name);
    this.#write(name, kernel, args);
    const [[gx, gy, gz], [bx, by, bz]] = [extent(launch.grid), extent(launch.block)];
    const { shared = 0 } = launch;
    if (shared > Math.max(kernel.shared, plainShared)) this.#allowShared(name, kernel, shared);
    this.driver.cuLaunchKernel(
      kernel.handle,
      gx,
      gy,
      gz,
      bx,
      by,
      bz,
      shared,
      this.stream,
      this.#placesAddress,
      0,
    );
  }

  /** Records what `run` enqueues, without running it. Buffers that it uses must outlive the graph. */
  capture(run: () => void): Graph {
    const { driver, stream } = this;
    driver.cuStreamBeginCapture(stream, relaxed);
    let graph = 0;
    try {
      run();
    } finally {
      graph = outputOf((output) => driver.cuStreamEndCapture(stream, output));
    }
    const executable = outputOf((output) => driver.cuGraphInstantiate(output, graph, 0));
    driver.cuGraphDestroy(graph);
    return {
      launch: () => driver.cuGraphLaunch(executable, stream),
      dispose: () => driver.cuGraphExecDestroy(executable),
    };
  }

  /** Waits for everything enqueued so far and blocks meanwhile. */
  synchronize(): void {
    this.driver.cuStreamSynchronize(this.stream);
  }

  /** Waits for everything enqueued so far without blocking the event loop. */
  async finished(): Promise<void> {
    const { driver } = this;
    const event = outputOf((output) => driver.cuEventCreate(output, withoutTiming));
    try {
      driver.cuEventRecord(event, this.stream);
      const start = performance.now();
      while (!driver.isDone(event)) {
        // Short waits count where tokens are sampled; long ones must not keep a core busy.
        const patient = performance.now() - start > 20;
        await new Promise<void>((resolve) => (patient ? setTimeout(resolve, 1) : setImmediate(resolve)));
      }
    } finally {
      driver.cuEventDestroy(event);
    }
  }

  #load(module: string, name: string): Kernel {
    let handle = this.#modules.get(module);
    if (handle === undefined) {
      const image = this.#compiler.compile(module, kernelSource(module));
      handle = outputOf((output) => this.driver.cuModuleLoadData(output, image));
      this.#modules.set(module, handle);
    }
    const loaded = handle;
    const kernel = outputOf((output) => this.driver.cuModuleGetFunction(output, loaded, name));
    const known = { handle: kernel, parameterSizes: this.driver.parameterSizes(kernel), shared: 0 };
    this.#kernels.set(name, known);
    return known;
  }

  #write(name: string, kernel: Kernel, args: ReadonlyArray<Scalar>): void {
    const sizes = kernel.parameterSizes;
    if (args.length > maxParameters || (sizes && sizes.length !== args.length)) {
      throw new TypeError(`Cannot launch ${name}: it takes ${sizes?.length} arguments, got ${args.length}`);
    }
    let at = 0;
    for (const [i, arg] of args.entries()) {
      const bytes = "ints" in arg ? 4 * arg.ints.length : "pointer" in arg || "i64" in arg ? 8 : 4;
      if (sizes && sizes[i] !== bytes) {
        const given = JSON.stringify(arg);
        throw new TypeError(`Cannot launch ${name}: argument ${i} has ${sizes[i]} bytes, got ${given}`);
      }
      if (at * 8 + bytes > 8 * room) throw new TypeError(`Cannot launch ${name}: its arguments are too long`);
      this.#places[i] = this.#valuesAddress + BigInt(8 * at);
      if ("pointer" in arg) {
        this.#words[2 * at] = arg.pointer >>> 0;
        this.#words[2 * at + 1] = Math.floor(arg.pointer / 2 ** 32);
      } else if ("i32" in arg) this.#ints[2 * at] = arg.i32;
      else if ("f32" in arg) this.#floats[2 * at] = arg.f32;
      else if ("ints" in arg) this.#ints.set(arg.ints, 2 * at);
      else this.#longs[at] = BigInt(arg.i64);
      at += Math.ceil(bytes / 8);
    }
  }

  #allowShared(name: string, kernel: Kernel, bytes: number): void {
    if (bytes > this.#sharedLimit) {
      throw new RangeError(
        `Cannot launch ${name}: a block wants ${bytes} bytes of shared memory, ${this.name} has ${this.#sharedLimit}`,
      );
    }
    this.driver.cuFuncSetAttribute(kernel.handle, maxDynamicSharedBytes, bytes);
    kernel.shared = bytes;
  }
}
