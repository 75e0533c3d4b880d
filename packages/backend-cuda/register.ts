import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import type { Kernel, KernelResult } from "./_kernel.ts";
import { CudaBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { elementwiseKernels } from "./elementwise_kernels.ts";
import { fallback } from "./fallback.ts";
import { fusedKernels } from "./fused/kernels.ts";
import { layoutKernels } from "./layout_kernels.ts";
import { CudaUnavailable } from "./libraries.ts";
import { productKernels } from "./product_kernels.ts";
import { type Precision, precisions } from "./products.ts";
import { reductionKernels } from "./reduction_kernels.ts";

const name = "cuda";

const kernels: Readonly<Record<string, Kernel>> = {
  ...elementwiseKernels,
  ...layoutKernels,
  ...productKernels,
  ...reductionKernels,
  ...fusedKernels,
};

/** RLHF_CUDA_PRECISION, else tf32. */
const wantedPrecision = (): Precision => {
  const text = process.env.RLHF_CUDA_PRECISION || "tf32";
  const precision = precisions.find((known) => known === text);
  if (precision) return precision;
  throw new RangeError(
    `Cannot start the cuda backend: RLHF_CUDA_PRECISION must be one of ${precisions.join(", ")}, got ${text}`,
  );
};

let backend: CudaBackend | undefined;

/**
 * Registers the tfjs backend "cuda" on the first GPU that CUDA_VISIBLE_DEVICES leaves; later calls only report.
 *
 * @returns the GPU's name and the precision of matrix products
 * @throws CudaUnavailable with what is missing, and how to mend it in `remedy`; RangeError when an environment variable
 *   asks for something that does not exist
 */
export const register = (): { readonly gpu: string; readonly precision: Precision } => {
  if (!backend) {
    const made = new CudaBackend(new Device(), wantedPrecision());
    refuseWrongNumbers(made);
    for (const kernelName of new Set([...stockKernels(), ...Object.keys(kernels)])) {
      tf.registerKernel({ kernelName, backendName: name, kernelFunc: withFallback(kernelName) });
    }
    tf.registerBackend(name, () => made, 0);
    backend = made;
  }
  return { gpu: backend.device.name, precision: backend.precision };
};

const stockKernels = (): ReadonlyArray<string> =>
  tf.getKernelsForBackend("cpu").map(({ kernelName }) => kernelName);

const withFallback = (op: string): tf.KernelFunc => {
  const run = kernels[op] as ((call: object) => KernelResult | undefined) | undefined;
  return ({ inputs, attrs, backend }) => {
    const engine = backend as CudaBackend;
    return engine.transact(
      op,
      () => run?.({ op, inputs, attrs: attrs ?? {}, backend: engine }) ?? fallback(op, inputs, attrs, engine),
    );
  };
};

/** A first use of the GPU, its compiler and cuBLAS, before anyone relies on them: [3, 4] · [3, 4]. */
const refuseWrongNumbers = (backend: CudaBackend): void => {
  const x = backend.upload(Float32Array.of(3, 4));
  const y = backend.output([1]);
  backend.op = "a first product";
  backend.gemm({ a: x, b: x, c: y, m: 1, n: 1, k: 2 });
  const [product] = backend.readSync(y.dataId) as Float32Array;
  backend.free(x, y);
  if (product !== 25)
    throw new CudaUnavailable(`${backend.device.name} computes wrong numbers.`, "Update its driver.");
};
