/** Kernels over all parameters of a model in one launch; their tensors come in attributes. */
import type * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "../_kernel.ts";
import { type CudaBackend, sizeOf } from "../backend.ts";
import { blocksOf, threads } from "./_launch.ts";

type Tensors = ReadonlyArray<tf.TensorInfo>;

/** Elements of a tensor that one block takes, as in fused_optimizer.cu. */
const chunk = 4096;

/** Where the chunks of each tensor begin, their sizes, and how many chunks there are; temporary tensors on the GPU. */
const layOut = (backend: CudaBackend, tensors: Tensors) => {
  const sizes = Int32Array.from(tensors, ({ shape }) => sizeOf(shape));
  let chunks = 0;
  const firstChunks = sizes.map((size) => {
    const first = chunks;
    chunks += blocksOf(size, chunk);
    return first;
  });
  return { firstChunks: backend.upload(firstChunks), sizes: backend.upload(sizes), chunks };
};

const tableOf = (backend: CudaBackend, addresses: ReadonlyArray<number>): tf.TensorInfo =>
  backend.upload(BigUint64Array.from(addresses, BigInt));

/**
 * A parameter that may change in place, and the address of its bf16 copy where it has one. The copy keeps its place, so
 * recorded decoding steps stay right.
 */
const updatable = (backend: CudaBackend, op: string, name: string, tensor: tf.TensorInfo) => {
  const wanted = backend.dataOf(tensor).bf16 !== undefined;
  const param = backend.writable(op, name, tensor);
  return { param, copy: wanted ? backend.copyTarget(param) : 0 };
};

/** In place; where a buffer has another owner, that owner keeps the old values. */
const adamw = kernel<
  never,
  {
    readonly params: Tensors;
    readonly grads: Tensors;
    readonly firstMoments: Tensors;
    readonly secondMoments: Tensors;
    readonly step: number;
    readonly learningRate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecays: ReadonlyArray<number>;
    readonly gradScale: tf.TensorInfo | null;
  }
>(({ op, attrs, backend }) => {
  const { params, grads, learningRate, beta1, beta2, epsilon, step, gradScale, weightDecays } = attrs;
  const writable = (name: string, tensors: Tensors) =>
    tensors.map((tensor, i) => backend.writable(op, `${name} ${i}`, tensor));
  const updated = params.map((param, i) => updatable(backend, op, `parameter ${i}`, param));
  const first = writable("first moment", attrs.firstMoments);
  const second = writable("second moment", attrs.secondMoments);
  const addresses = tableOf(
    backend,
    updated.flatMap(({ param, copy }, i) => [
      ...[param, grads[i]!, first[i]!, second[i]!].map((tensor) => backend.pointerOf(tensor)),
      copy,
    ]),
  );
  const { firstChunks, sizes, chunks } = layOut(backend, params);
  const keeps = backend.upload(Float32Array.from(weightDecays, (decay) => 1 - learningRate * decay));
  backend.launch("fused_optimizer", "fused_adamw", { grid: chunks, block: threads }, [
    addresses,
    firstChunks,
    sizes,
    keeps,
    gradScale,
    params.length,
    { f32: learningRate / (1 - beta1 ** step) },
    { f32: beta1 },
    { f32: beta2 },
    { f32: epsilon },
    { f32: 1 / Math.sqrt(1 - beta2 ** step) },
  ]);
  backend.free(addresses, firstChunks, sizes, keeps);
  return [];
});

const globalNorm = kernel<never, { readonly tensors: Tensors }>(({ attrs: { tensors }, backend }) => {
  const addresses = tableOf(
    backend,
    tensors.map((tensor) => backend.pointerOf(tensor)),
  );
  const { firstChunks, sizes, chunks } = layOut(backend, tensors);
  const [partials, norm] = [backend.output([chunks]), backend.output([])];
  backend.launch("fused_optimizer", "fused_squares", { grid: chunks, block: threads }, [
    addresses,
    firstChunks,
    sizes,
    partials,
    tensors.length,
  ]);
  const launch = { grid: 1, block: 1024 };
  backend.launch("fused_optimizer", "fused_root_of_sum", launch, [partials, norm, chunks]);
  backend.free(addresses, firstChunks, sizes, partials);
  return norm;
});

/** In the memory of `sum` where nobody else holds it. */
const addInto = kernel<"sum" | "term">(({ op, inputs: { sum, term }, backend }) => {
  const size = sizeOf(sum.shape);
  const own = backend.refCount(sum.dataId) === 1;
  const total = own
    ? backend.relabelled(backend.writable(op, "sum", sum), sum.shape)
    : backend.output(sum.shape);
  const launch = { grid: blocksOf(size / 4), block: threads };
  backend.launch("fused_optimizer", "fused_add_into", launch, [sum, { stored: term }, total, size]);
  return total;
});

export const optimizerKernels: Record<string, Kernel> = {
  RlhfAdamw: adamw,
  RlhfGlobalNorm: globalNorm,
  RlhfAddInto: addInto,
};
