/** Sums of tensors of one shape. */
import * as tf from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { program, threads } from "./_program.ts";
import { sizeOf, type WebGpuBackend } from "./backend.ts";

const addition = {
  ints: ["size"],
  main: "let i = index * threads + lane;\n  if (i >= u.size) { return; }",
} as const;
const sumProgram = program({
  key: "sum",
  buffers: { a: "in f32", b: "in f32", total: "out f32" },
  ints: addition.ints,
  main: `${addition.main} total[i] = a[i] + b[i];`,
});
const addIntoProgram = program({
  key: "add into",
  buffers: { total: "inout f32", term: "in f32" },
  ints: addition.ints,
  main: `${addition.main} total[i] += term[i];`,
});

const addTo = (backend: WebGpuBackend, total: tf.TensorInfo, term: tf.TensorInfo): void => {
  const size = sizeOf(total.shape);
  const groups = Math.ceil(size / threads);
  backend.run(addIntoProgram, { tensors: { total, term }, uniforms: { size }, groups });
};

const plus = (backend: WebGpuBackend, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo => {
  const total = backend.output(a.shape);
  const size = sizeOf(a.shape);
  backend.run(sumProgram, {
    tensors: { a, b, total },
    uniforms: { size },
    groups: Math.ceil(size / threads),
  });
  return total;
};

/** In the memory of the sum, unless that has another owner or is the term itself. */
const addInto = kernel<"sum" | "term">(({ inputs: { sum, term }, backend }) => {
  if (backend.dataOf(sum).refCount > 1) return plus(backend, sum, term);
  addTo(backend, sum, term);
  backend.incRef(sum.dataId);
  return { dataId: sum.dataId, shape: sum.shape, dtype: sum.dtype };
});

/** Any number of tensors: tfjs's own kernel binds them all at once, and a GPU allows for few bindings. */
const addN = kernel<string>(({ inputs, backend }) => {
  const [first, second, ...rest] = Object.values(inputs) as [tf.TensorInfo, ...tf.TensorInfo[]];
  if (second === undefined) {
    backend.incRef(first.dataId);
    return { dataId: first.dataId, shape: first.shape, dtype: first.dtype };
  }
  if (Object.values(inputs).some(({ dtype }) => dtype !== "float32")) {
    return [second, ...rest].reduce((a, b) => {
      const total = tf.getKernel(tf.Add, "webgpu").kernelFunc({ inputs: { a, b }, attrs: {}, backend });
      if (a !== first) backend.free(a);
      return total as tf.TensorInfo;
    }, first);
  }
  const total = plus(backend, first, second);
  for (const term of rest) addTo(backend, total, term);
  return total;
});

export const sumKernels: Record<string, Kernel> = { RlhfAddInto: addInto, [tf.AddN]: addN };
