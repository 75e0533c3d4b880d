import * as tf from "@tensorflow/tfjs-core";
import type { Kernel } from "./_kernel.ts";
import { type Adapter, findAdapter, NoAdapter, platformGpu } from "./adapter.ts";
import { attentionKernels } from "./attention_kernels.ts";
import type { WebGpuBackend } from "./backend.ts";
import { decodeKernels } from "./decode_kernels.ts";
import { layerKernels } from "./layer_kernels.ts";
import { logProbKernels } from "./log_prob_kernels.ts";
import { normKernels } from "./norm_kernels.ts";
import { optimizerKernels } from "./optimizer_kernels.ts";
import { sampleKernels } from "./sample_kernel.ts";
import { sumKernels } from "./sum_kernels.ts";

const name = "webgpu";

const kernels: Readonly<Record<string, Kernel>> = {
  ...attentionKernels,
  ...decodeKernels,
  ...layerKernels,
  ...logProbKernels,
  ...normKernels,
  ...optimizerKernels,
  ...sampleKernels,
  ...sumKernels,
};

/** The limits that the kernels can use more of than every device has. */
const wantedLimits = [
  "maxBufferSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
] as const;

/**
 * Registers the tfjs backend "webgpu" on the fastest GPU of this machine; later calls only report.
 *
 * @param options.software also takes a program that plays a GPU on the CPU, where there is nothing else
 * @returns the name of the GPU
 * @throws NoAdapter with what is missing or does not work, and how to mend it in `remedy`
 */
export const register = async (
  options: { readonly software?: boolean } = {},
): Promise<{ readonly adapter: string; readonly software: boolean }> => {
  const adapter = (found ??= await findAdapter());
  if (adapter.software && !options.software) {
    throw new NoAdapter(
      `${adapter.name} is no GPU but a program on the CPU.`,
      "Ask for webgpu by name to use it all the same.",
    );
  }
  await (started ??= start(adapter));
  return { adapter: adapter.name, software: adapter.software };
};

let found: Adapter | undefined;
let started: Promise<void> | undefined;

const start = async ({ gpu, handle, name: adapterName }: Adapter): Promise<void> => {
  const requiredLimits = Object.fromEntries(wantedLimits.map((limit) => [limit, handle.limits[limit]]));
  const device = await handle.requestDevice({ requiredLimits });
  const { WebGpuBackend } = await import("./backend.ts");
  const info = (handle as { readonly info?: GPUAdapterInfo }).info;
  const backend = withGpu(gpu, () => new WebGpuBackend(device, info));
  if ((await normOf(backend, [3, 4])) !== 5) {
    throw new NoAdapter(`${adapterName} computes wrong numbers.`, "Update its driver.");
  }
  for (const [kernelName, run] of Object.entries(kernels)) {
    const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) =>
      run({ op: kernelName, inputs, attrs, backend } as never);
    if (tf.getKernel(kernelName, name)) tf.unregisterKernel(kernelName, name); // tfjs has one of its own
    tf.registerKernel({ kernelName, backendName: name, kernelFunc });
  }
  // In a browser the import registers tfjs's own.
  if (tf.findBackendFactory(name)) tf.removeBackend(name);
  tf.registerBackend(name, () => backend);
};

/** √(Σ x²): a first use of the GPU, before anyone relies on it. */
const normOf = async (backend: WebGpuBackend, numbers: ReadonlyArray<number>): Promise<number> => {
  const x = backend.makeTensorInfo([numbers.length], "float32", Float32Array.from(numbers));
  const call = { op: "RlhfGlobalNorm", inputs: {}, attrs: { tensors: [x] }, backend };
  const norm = optimizerKernels.RlhfGlobalNorm!(call as never) as tf.TensorInfo;
  const [value] = (await backend.read(norm.dataId)) as Float32Array;
  backend.free(x, norm);
  return value!;
};

/** tfjs looks for `navigator.gpu` when it makes a backend; where the platform has none, it stands there meanwhile. */
const withGpu = <A>(gpu: GPU, make: () => A): A => {
  if (platformGpu()) return make();
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { gpu } });
  try {
    return make();
  } finally {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else Reflect.deleteProperty(globalThis, "navigator");
  }
};
