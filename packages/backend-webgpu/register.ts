import * as tf from "@tensorflow/tfjs-core";
import type { Kernel } from "./_kernel.ts";
import { findAdapter, NoAdapter, platformGpu } from "./adapter.ts";
import { attentionKernels } from "./attention_kernels.ts";
import { decodeKernels } from "./decode_kernels.ts";
import { layerKernels } from "./layer_kernels.ts";
import { logProbKernels } from "./log_prob_kernels.ts";
import { normKernels } from "./norm_kernels.ts";
import { optimizerKernels } from "./optimizer_kernels.ts";
import { sampleKernels } from "./sample_kernel.ts";

const name = "webgpu";

const kernels: Readonly<Record<string, Kernel>> = {
  ...attentionKernels,
  ...decodeKernels,
  ...layerKernels,
  ...logProbKernels,
  ...normKernels,
  ...optimizerKernels,
  ...sampleKernels,
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
 * @throws NoAdapter with what is missing, and how to mend it in `remedy`
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
  if (!registered) {
    registered = true;
    const { WebGpuBackend } = await import("./backend.ts");
    for (const [kernelName, run] of Object.entries(kernels)) {
      const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) =>
        run({ op: kernelName, inputs, attrs, backend } as never);
      tf.registerKernel({ kernelName, backendName: name, kernelFunc });
    }
    // In a browser the import registers tfjs's own.
    if (tf.findBackendFactory(name)) tf.removeBackend(name);
    tf.registerBackend(name, async () => {
      const requiredLimits = Object.fromEntries(
        wantedLimits.map((limit) => [limit, adapter.handle.limits[limit]]),
      );
      const device = await adapter.handle.requestDevice({ requiredLimits });
      const info = (adapter.handle as { readonly info?: GPUAdapterInfo }).info;
      return withGpu(adapter.gpu, () => new WebGpuBackend(device, info));
    });
  }
  return { adapter: adapter.name, software: adapter.software };
};

let found: Awaited<ReturnType<typeof findAdapter>> | undefined;
let registered = false;

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
