/**
 * The CUDA driver, NVRTC and cuBLAS by foreign functions: the one file that knows their C interfaces. Handles and
 * addresses are numbers (they have at most 53 bits), and every call that fails throws.
 */
import koffi from "koffi";
import { CudaUnavailable, type Library, loadLibrary } from "./libraries.ts";

/** A call that CUDA refused, or the failure of an earlier kernel that it now reports. */
export class CudaError extends Error {
  readonly code: number;

  constructor(call: string, code: number, name: string) {
    const late =
      code === 700 || code === 719
        ? " A kernel failed, this call or an earlier one; CUDA_LAUNCH_BLOCKING=1 in the environment makes the error come where it happens."
        : "";
    super(`${call} failed: ${name} (${code}).${late}`);
    this.code = code;
  }
}
export const outOfMemory = 2;
const notReady = 600;

const driverCalls = {
  cuInit: "int cuInit(uint flags)",
  cuDriverGetVersion: "int cuDriverGetVersion(_Out_ int* version)",
  cuDeviceGetCount: "int cuDeviceGetCount(_Out_ int* count)",
  cuDeviceGet: "int cuDeviceGet(_Out_ int* device, int ordinal)",
  cuDeviceGetName: "int cuDeviceGetName(void* name, int length, int device)",
  cuDeviceGetAttribute: "int cuDeviceGetAttribute(_Out_ int* value, int attribute, int device)",
  cuDevicePrimaryCtxRetain: "int cuDevicePrimaryCtxRetain(_Out_ uintptr_t* context, int device)",
  cuCtxSetCurrent: "int cuCtxSetCurrent(uintptr_t context)",
  cuMemGetInfo: "int cuMemGetInfo_v2(_Out_ size_t* free, _Out_ size_t* total)",
  cuMemAlloc: "int cuMemAlloc_v2(_Out_ uint64_t* pointer, size_t bytes)",
  cuMemFree: "int cuMemFree_v2(uint64_t pointer)",
  cuMemHostAlloc: "int cuMemHostAlloc(_Out_ uintptr_t* pointer, size_t bytes, uint flags)",
  cuMemFreeHost: "int cuMemFreeHost(uintptr_t pointer)",
  cuMemcpyHtoD: "int cuMemcpyHtoDAsync_v2(uint64_t to, void* from, size_t bytes, uintptr_t stream)",
  cuMemcpyDtoH: "int cuMemcpyDtoHAsync_v2(uintptr_t to, uint64_t from, size_t bytes, uintptr_t stream)",
  cuMemcpyDtoD: "int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uintptr_t stream)",
  cuMemsetD32: "int cuMemsetD32Async(uint64_t to, uint value, size_t count, uintptr_t stream)",
  cuStreamCreate: "int cuStreamCreate(_Out_ uintptr_t* stream, uint flags)",
  cuStreamSynchronize: "int cuStreamSynchronize(uintptr_t stream)",
  cuStreamBeginCapture: "int cuStreamBeginCapture_v2(uintptr_t stream, int mode)",
  cuStreamEndCapture: "int cuStreamEndCapture(uintptr_t stream, _Out_ uintptr_t* graph)",
  cuGraphInstantiate:
    "int cuGraphInstantiateWithFlags(_Out_ uintptr_t* executable, uintptr_t graph, uint64_t flags)",
  cuGraphLaunch: "int cuGraphLaunch(uintptr_t executable, uintptr_t stream)",
  cuGraphDestroy: "int cuGraphDestroy(uintptr_t graph)",
  cuGraphExecDestroy: "int cuGraphExecDestroy(uintptr_t executable)",
  cuEventCreate: "int cuEventCreate(_Out_ uintptr_t* event, uint flags)",
  cuEventDestroy: "int cuEventDestroy_v2(uintptr_t event)",
  cuEventRecord: "int cuEventRecord(uintptr_t event, uintptr_t stream)",
  cuEventQuery: "int cuEventQuery(uintptr_t event)",
  cuModuleLoadData: "int cuModuleLoadData(_Out_ uintptr_t* module, void* image)",
  cuModuleGetFunction: "int cuModuleGetFunction(_Out_ uintptr_t* function, uintptr_t module, str name)",
  cuFuncSetAttribute: "int cuFuncSetAttribute(uintptr_t function, int attribute, int value)",
  cuLaunchKernel:
    "int cuLaunchKernel(uintptr_t function, uint gx, uint gy, uint gz, uint bx, uint by, uint bz, uint shared, uintptr_t stream, uintptr_t parameters, uintptr_t extra)",
} as const;

const nvrtcCalls = {
  nvrtcVersion: "int nvrtcVersion(_Out_ int* major, _Out_ int* minor)",
  nvrtcGetNumSupportedArchs: "int nvrtcGetNumSupportedArchs(_Out_ int* count)",
  nvrtcGetSupportedArchs: "int nvrtcGetSupportedArchs(void* architectures)",
  nvrtcCreateProgram:
    "int nvrtcCreateProgram(_Out_ uintptr_t* program, str source, str name, int headers, void* texts, void* names)",
  nvrtcDestroyProgram: "int nvrtcDestroyProgram(_Inout_ uintptr_t* program)",
  nvrtcCompileProgram: "int nvrtcCompileProgram(uintptr_t program, int count, const char** options)",
  nvrtcGetProgramLogSize: "int nvrtcGetProgramLogSize(uintptr_t program, _Out_ size_t* bytes)",
  nvrtcGetProgramLog: "int nvrtcGetProgramLog(uintptr_t program, void* log)",
  nvrtcGetCUBINSize: "int nvrtcGetCUBINSize(uintptr_t program, _Out_ size_t* bytes)",
  nvrtcGetCUBIN: "int nvrtcGetCUBIN(uintptr_t program, void* image)",
  nvrtcGetPTXSize: "int nvrtcGetPTXSize(uintptr_t program, _Out_ size_t* bytes)",
  nvrtcGetPTX: "int nvrtcGetPTX(uintptr_t program, void* image)",
} as const;

const cublasCalls = {
  cublasCreate: "int cublasCreate_v2(_Out_ uintptr_t* handle)",
  cublasSetStream: "int cublasSetStream_v2(uintptr_t handle, uintptr_t stream)",
  cublasSetWorkspace: "int cublasSetWorkspace_v2(uintptr_t handle, uint64_t workspace, size_t bytes)",
  cublasGemm:
    "int cublasGemmStridedBatchedEx(uintptr_t handle, int transposeA, int transposeB, int m, int n, int k, uintptr_t alpha, " +
    "uint64_t a, int typeA, int lda, int64_t strideA, uint64_t b, int typeB, int ldb, int64_t strideB, uintptr_t beta, " +
    "uint64_t c, int typeC, int ldc, int64_t strideC, int count, int compute, int algorithm)",
} as const;

const cublasLtCalls = {
  cublasLtCreate: "int cublasLtCreate(_Out_ uintptr_t* handle)",
  cublasLtMatmulDescCreate:
    "int cublasLtMatmulDescCreate(_Out_ uintptr_t* description, int compute, int scale)",
  cublasLtMatmulDescSetAttribute:
    "int cublasLtMatmulDescSetAttribute(uintptr_t description, int attribute, void* value, size_t bytes)",
  cublasLtMatrixLayoutCreate:
    "int cublasLtMatrixLayoutCreate(_Out_ uintptr_t* layout, int type, uint64_t rows, uint64_t columns, int64_t leading)",
  cublasLtMatmulPreferenceCreate: "int cublasLtMatmulPreferenceCreate(_Out_ uintptr_t* preference)",
  cublasLtMatmulPreferenceSetAttribute:
    "int cublasLtMatmulPreferenceSetAttribute(uintptr_t preference, int attribute, void* value, size_t bytes)",
  cublasLtMatmulAlgoGetHeuristic:
    "int cublasLtMatmulAlgoGetHeuristic(uintptr_t handle, uintptr_t description, uintptr_t a, uintptr_t b, uintptr_t c, " +
    "uintptr_t d, uintptr_t preference, int wanted, void* results, _Out_ int* found)",
  cublasLtMatmul:
    "int cublasLtMatmul(uintptr_t handle, uintptr_t description, uintptr_t alpha, uint64_t a, uintptr_t layoutA, uint64_t b, " +
    "uintptr_t layoutB, uintptr_t beta, uint64_t c, uintptr_t layoutC, uint64_t d, uintptr_t layoutD, void* algorithm, " +
    "uint64_t workspace, size_t bytes, uintptr_t stream)",
} as const;

type Argument = number | bigint | string | ArrayBufferView | number[] | ReadonlyArray<string> | null;
type Call = (...args: ReadonlyArray<Argument>) => void;
type Calls<Declarations> = { readonly [Name in keyof Declarations]: Call };

export type Driver = Calls<typeof driverCalls> & {
  /** Whether everything before the event was recorded is done; throws when something of it failed. */
  isDone(event: number): boolean;
  /** The bytes of a kernel's parameters; unknown (undefined) to drivers before CUDA 12.4. */
  parameterSizes(kernel: number): ReadonlyArray<number> | undefined;
};
export type Nvrtc = Calls<typeof nvrtcCalls>;
export type Cublas = Calls<typeof cublasCalls>;
export type CublasLt = Calls<typeof cublasLtCalls>;

/** The result of a call's only output parameter. */
export const outputOf = (call: (output: number[]) => void): number => {
  const output = [0];
  call(output);
  return Number(output[0]);
};

/** The address of an array's memory, which must stay referenced for as long as the address is used. */
export const addressOf = (array: ArrayBufferView): number => Number(koffi.address(array));

/** A copy of memory that the driver owns. */
export const copyOf = (address: number, bytes: number): ArrayBuffer =>
  (koffi.decode(BigInt(address), "uint8_t", bytes) as Uint8Array<ArrayBuffer>).buffer;

const bind = <Declarations extends Readonly<Record<string, string>>>(
  library: Library,
  declarations: Declarations,
  nameOf: (code: number) => string,
): Calls<Declarations> => {
  const calls: Record<string, Call> = {};
  for (const [name, declaration] of Object.entries(declarations)) {
    const call = library.func(declaration);
    calls[name] = (...args) => {
      const code = call(...args) as number;
      if (code !== 0) throw new CudaError(name, code, nameOf(code));
    };
  }
  return calls as Calls<Declarations>;
};

/**
 * @throws CudaUnavailable when there is no driver, or one without a GPU or too old
 */
export const loadDriver = (): { readonly driver: Driver; readonly major: number } => {
  const library = loadLibrary("driver");
  const errorName = library.func("int cuGetErrorName(int code, _Out_ const char** name)");
  const nameOf = (code: number): string => {
    const name: [string | null] = [null];
    errorName(code, name);
    return name[0] ?? "an unknown error";
  };
  const calls = bind(library, driverCalls, nameOf);
  const query = library.func(driverCalls.cuEventQuery);
  const driver: Driver = {
    ...calls,
    isDone: (event) => {
      const code = query(event) as number;
      if (code !== 0 && code !== notReady) throw new CudaError("cuEventQuery", code, nameOf(code));
      return code === 0;
    },
    parameterSizes: parameterSizesOf(library),
  };
  try {
    driver.cuInit(0);
  } catch (error) {
    throw new CudaUnavailable(
      `The NVIDIA driver does not start: ${(error as Error).message}`,
      "Check it with nvidia-smi; in a container, start it with its GPUs (docker run --gpus all).",
    );
  }
  const version = outputOf((output) => driver.cuDriverGetVersion(output));
  const words = `${Math.floor(version / 1000)}.${(version % 1000) / 10}`;
  if (version < 12_000) {
    throw new CudaUnavailable(
      `The NVIDIA driver knows CUDA ${words}; 12.0 is needed.`,
      "Update it to 525 or newer.",
    );
  }
  if (outputOf((output) => driver.cuDeviceGetCount(output)) === 0) {
    throw new CudaUnavailable(
      "The NVIDIA driver sees no GPU.",
      "Check nvidia-smi, and CUDA_VISIBLE_DEVICES if it is set.",
    );
  }
  return { driver, major: Math.floor(version / 1000) };
};

const parameterSizesOf = (library: Library): Driver["parameterSizes"] => {
  let info: (kernel: number, index: number, offset: number[], size: number[]) => number;
  try {
    info = library.func(
      "int cuFuncGetParamInfo(uintptr_t function, size_t index, _Out_ size_t* offset, _Out_ size_t* size)",
    ) as typeof info;
  } catch {
    return () => undefined;
  }
  return (kernel) => {
    const sizes: number[] = [];
    const [offset, size] = [[0], [0]];
    while (info(kernel, sizes.length, offset, size) === 0) sizes.push(Number(size[0]));
    return sizes;
  };
};

export const loadNvrtc = (major: number): Nvrtc => {
  const library = loadLibrary("nvrtc", major);
  const errorName = library.func("const char* nvrtcGetErrorString(int code)");
  return bind(library, nvrtcCalls, (code) => errorName(code) as string);
};

const cublasErrors: Readonly<Record<number, string>> = {
  1: "CUBLAS_STATUS_NOT_INITIALIZED",
  3: "CUBLAS_STATUS_ALLOC_FAILED",
  7: "CUBLAS_STATUS_INVALID_VALUE",
  8: "CUBLAS_STATUS_ARCH_MISMATCH",
  11: "CUBLAS_STATUS_MAPPING_ERROR",
  13: "CUBLAS_STATUS_EXECUTION_FAILED",
  14: "CUBLAS_STATUS_INTERNAL_ERROR",
  15: "CUBLAS_STATUS_NOT_SUPPORTED",
};

const cublasErrorName = (code: number): string => cublasErrors[code] ?? "an unknown error";
export const loadCublas = (major: number): Cublas =>
  bind(loadLibrary("cublas", major), cublasCalls, cublasErrorName);
export const loadCublasLt = (major: number): CublasLt =>
  bind(loadLibrary("cublasLt", major), cublasLtCalls, cublasErrorName);
