import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import type { KernelCall, KernelResult, NativeKernel } from "./_kernel.ts";
import { loadAddon } from "./addon.ts";
import { NativeBackend, refuseDisposed, sizeOf } from "./backend.ts";
import { decodeKernels } from "./decode_kernels.ts";
import { decoderBlockKernels } from "./decoder_block_kernels.ts";
import { elementwiseKernels } from "./elementwise_kernels.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { layoutKernels } from "./layout_kernels.ts";
import { optimizerKernels } from "./optimizer_kernels.ts";
import { productKernels } from "./product_kernels.ts";
import { reductionKernels } from "./reduction_kernels.ts";

const name = "native";

/** Stock kernels that only relabel their input. */
const free = new Set(["Identity", "Reshape", "ExpandDims", "Real", "Imag", "Complex"]);
/** Smaller calls cost about as much in JavaScript as anywhere. */
const large = 4096;

const fallbacks: Record<string, number> = {};

/** For every kernel, how many calls with more than 4096 elements ran in JavaScript since `resetFallbackCounts`. */
export const fallbackCounts = (): Readonly<Record<string, number>> => ({ ...fallbacks });

export const resetFallbackCounts = (): void => {
  for (const kernelName of Object.keys(fallbacks)) delete fallbacks[kernelName];
};

type Stock = (params: {
  inputs: tf.NamedTensorInfoMap;
  attrs?: tf.NamedAttrMap;
  backend: NativeBackend;
}) => KernelResult;

const listOf = (result: KernelResult): ReadonlyArray<tf.TensorInfo> =>
  Array.isArray(result) ? result : [result];

const sizeOfLargest = (tensors: ReadonlyArray<tf.TensorInfo>): number =>
  tensors.reduce((size, { shape }) => Math.max(size, sizeOf(shape)), 0);

const withFallback = (
  op: string,
  native: NativeKernel | undefined,
  stock: Stock | undefined,
): tf.KernelFunc => {
  const run = native as ((call: KernelCall<unknown>) => KernelResult | undefined) | undefined;
  return ({ inputs, attrs, backend }) => {
    const given = inputs as KernelCall["inputs"];
    const engine = backend as NativeBackend;
    for (const input in given) refuseDisposed(op, input, given[input]);
    const result =
      run && engine.transact(() => run({ op, inputs: given, attrs: attrs ?? {}, backend: engine }));
    if (result !== undefined) return result;
    if (!stock) throw new TypeError(`Cannot run ${op}: no kernel takes these inputs`);
    const output = stock({ inputs, backend: engine, ...(attrs && { attrs }) });
    const size = sizeOfLargest([...Object.values(given), ...listOf(output)]);
    if (size > large && !free.has(op)) fallbacks[op] = (fallbacks[op] ?? 0) + 1;
    return output;
  };
};

/**
 * Registers the tfjs backend "native" and its kernels; later calls only report.
 *
 * @returns the number of threads and the instruction set in use
 * @throws Error that names the files tried when the addon is not built, RangeError when an environment variable
 *   asks for something that does not exist
 */
export const register = (): { readonly threads: number; readonly isa: string } => {
  const { addon, threads, isa } = loadAddon();
  if (tf.findBackendFactory(name)) return { threads, isa };
  const native: Record<string, NativeKernel> = {
    ...elementwiseKernels(addon),
    ...reductionKernels,
    ...layoutKernels,
    ...productKernels,
    ...fusedKernels,
    ...decoderBlockKernels,
    ...optimizerKernels,
    ...decodeKernels,
  };
  const stock = new Map(
    tf
      .getKernelsForBackend("cpu")
      .map((config) => [config.kernelName, config.kernelFunc as unknown as Stock]),
  );
  for (const kernelName of new Set([...stock.keys(), ...Object.keys(native)])) {
    const kernelFunc = withFallback(kernelName, native[kernelName], stock.get(kernelName));
    tf.registerKernel({ kernelName, backendName: name, kernelFunc });
  }
  tf.registerBackend(name, () => new NativeBackend(addon), 0);
  return { threads, isa };
};
