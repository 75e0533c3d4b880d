/** Kernels that treat every element alike: unary, binary with broadcasting, comparisons, selection, casts. */
import type * as tf from "@tensorflow/tfjs-core";
import { type KernelCall, kernel, type NativeKernel, requireShape } from "./_kernel.ts";
import type { NativeAddon } from "./addon.ts";
import { type NativeBackend, sizeOf } from "./backend.ts";

const maxRank = 8;

interface BroadcastWalk {
  readonly shape: number[];
  readonly dims: number[];
  readonly stepsA: number[];
  readonly stepsB: number[];
}

/** How two shapes broadcast: the common shape, and a walk over it with as few axes as possible. */
export const broadcastWalk = (
  a: ReadonlyArray<number>,
  b: ReadonlyArray<number>,
): BroadcastWalk | undefined => {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  const dims: number[] = [];
  const stepsA: number[] = [];
  const stepsB: number[] = [];
  let [sizeA, sizeB] = [1, 1];
  // Innermost axis first; an axis joins the one inside it when both arrays run on without a gap.
  for (let axis = 1; axis <= rank; axis++) {
    const dimA = a[a.length - axis] ?? 1;
    const dimB = b[b.length - axis] ?? 1;
    if (dimA !== dimB && dimA !== 1 && dimB !== 1) return undefined;
    const dim = dimA === 1 ? dimB : dimA;
    shape.unshift(dim);
    if (dim === 1) continue;
    const stepA = dimA === 1 ? 0 : sizeA;
    const stepB = dimB === 1 ? 0 : sizeB;
    sizeA *= dimA;
    sizeB *= dimB;
    const inner = dims[0];
    if (inner !== undefined && stepA === stepsA[0]! * inner && stepB === stepsB[0]! * inner) {
      dims[0] = inner * dim;
    } else {
      dims.unshift(dim);
      stepsA.unshift(stepA);
      stepsB.unshift(stepB);
    }
  }
  if (dims.length > maxRank) return undefined;
  if (dims.length === 0) return { shape, dims: [1], stepsA: [1], stepsB: [1] };
  return { shape, dims, stepsA, stepsB };
};

const bothAre = (inputs: KernelCall["inputs"], dtype: tf.DataType) =>
  inputs.a!.dtype === dtype && inputs.b!.dtype === dtype;

const unaryKernel = (
  code: number,
  parameters: (attrs: Record<string, number>) => [number, number],
): NativeKernel =>
  kernel<Record<string, number>>(({ op, inputs, attrs, backend }) => {
    const x = inputs.x!;
    if (x.dtype !== "float32") return undefined;
    const { info, array } = backend.floatOutput(x.shape);
    const [p0, p1] = parameters(attrs);
    backend.addon.unary(code, backend.floats(op, "x", x), array, array.length, p0, p1);
    return info;
  });

const none = (): [number, number] => [0, 0];
const unaryParameters: Record<string, (attrs: Record<string, number>) => [number, number]> = {
  ClipByValue: (attrs) => [attrs.clipValueMin!, attrs.clipValueMax!],
  Step: (attrs) => [attrs.alpha!, 0],
  LeakyRelu: (attrs) => [attrs.alpha!, 0],
};

/** Binary operations that also have an int32 version in the addon. */
const wholeNumbers = new Set(["Add", "Sub", "Multiply", "Maximum", "Minimum"]);

const binaryKernel = (name: string, code: number): NativeKernel =>
  kernel(({ op, inputs, backend }) => {
    const [a, b] = [inputs.a!, inputs.b!];
    const walk = broadcastWalk(a.shape, b.shape);
    if (!walk) return undefined;
    const { shape, dims, stepsA, stepsB } = walk;
    if (bothAre(inputs, "float32")) {
      const { info, array } = backend.floatOutput(shape);
      const [p, q] = [backend.floats(op, "a", a), backend.floats(op, "b", b)];
      backend.addon.binary(code, p, q, array, dims, stepsA, stepsB);
      return info;
    }
    if (bothAre(inputs, "int32") && wholeNumbers.has(name)) {
      const array = new Int32Array(sizeOf(shape));
      const [p, q] = [backend.ints(op, "a", a), backend.ints(op, "b", b)];
      backend.addon.binaryInt(code, p, q, array, dims, stepsA, stepsB);
      return backend.output(shape, "int32", array);
    }
    return undefined;
  });

/** In place where nobody shares the sum. */
const addIntoKernel = (add: number): NativeKernel =>
  kernel(({ op, inputs, backend }) => {
    const [sum, term] = [inputs.sum!, inputs.term!];
    requireShape(op, "term", term, sum.shape);
    const [a, b] = [backend.floats(op, "sum", sum), backend.floats(op, "term", term)];
    const owned = backend.ownedFloats(sum);
    if (owned) backend.incRef(sum.dataId);
    const { info, array } = owned
      ? { info: { dataId: sum.dataId, shape: sum.shape, dtype: sum.dtype }, array: owned }
      : backend.floatOutput(sum.shape);
    backend.addon.binary(add, a, b, array, [array.length], [1], [1]);
    return info;
  });

const comparisonKernel = (code: number): NativeKernel =>
  kernel(({ op, inputs, backend }) => {
    const [a, b] = [inputs.a!, inputs.b!];
    const walk = broadcastWalk(a.shape, b.shape);
    if (!walk) return undefined;
    const { shape, dims, stepsA, stepsB } = walk;
    const array = new Uint8Array(sizeOf(shape));
    if (bothAre(inputs, "float32")) {
      const [p, q] = [backend.floats(op, "a", a), backend.floats(op, "b", b)];
      backend.addon.compare(code, p, q, array, dims, stepsA, stepsB);
    } else if (bothAre(inputs, "int32")) {
      const [p, q] = [backend.ints(op, "a", a), backend.ints(op, "b", b)];
      backend.addon.compareInt(code, p, q, array, dims, stepsA, stepsB);
    } else if (bothAre(inputs, "bool") && [a, b].every((x) => backend.array(x) instanceof Uint8Array)) {
      const [p, q] = [backend.array(a) as Uint8Array, backend.array(b) as Uint8Array];
      backend.addon.compareBool(code, p, q, array, dims, stepsA, stepsB);
    } else {
      return undefined;
    }
    return backend.output(shape, "bool", array);
  });

const logicalNot = kernel(({ inputs, backend }) => {
  const x = inputs.x!;
  const values = backend.array(x);
  if (x.dtype !== "bool" || !(values instanceof Uint8Array)) return undefined;
  const array = new Uint8Array(values.length);
  backend.addon.notBool(values, array, array.length);
  return backend.output(x.shape, "bool", array);
});

const select = kernel(({ op, inputs, backend }) => {
  const [condition, yes, no] = [inputs.condition!, inputs.t!, inputs.e!];
  const flags = backend.array(condition);
  const sameShape = (other: tf.TensorInfo) =>
    other.shape.length === yes.shape.length && other.shape.every((dim, axis) => dim === yes.shape[axis]);
  if (yes.dtype !== "float32" || no.dtype !== "float32" || !(flags instanceof Uint8Array)) return undefined;
  if (!sameShape(condition) || !sameShape(no)) return undefined;
  const { info, array } = backend.floatOutput(yes.shape);
  backend.addon.select(flags, backend.floats(op, "t", yes), backend.floats(op, "e", no), array, array.length);
  return info;
});

const converters: Record<
  string,
  "floatToInt" | "intToFloat" | "boolToFloat" | "boolToInt" | "floatToBool" | "intToBool"
> = {
  "float32 int32": "floatToInt",
  "int32 float32": "intToFloat",
  "bool float32": "boolToFloat",
  "bool int32": "boolToInt",
  "float32 bool": "floatToBool",
  "int32 bool": "intToBool",
};

const cast = kernel<{ dtype: tf.DataType }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const { dtype } = attrs;
  if (dtype === x.dtype) {
    backend.incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype };
  }
  const converter = converters[`${x.dtype} ${dtype}`];
  if (!converter) return undefined;
  const values = backend.array(x);
  const size = sizeOf(x.shape);
  const array =
    dtype === "float32"
      ? backend.pool.take(size)
      : dtype === "int32"
        ? new Int32Array(size)
        : new Uint8Array(size);
  (backend.addon[converter] as (from: unknown, to: unknown, size: number) => void)(values, array, size);
  return backend.output(x.shape, dtype, array);
});

/** Σ of a list of tensors of one shape. */
const addN = kernel(({ op, inputs, backend }) => {
  const tensors = Object.values(inputs);
  const [first] = tensors;
  if (!first || tensors.length < 2 || tensors.some((tensor) => tensor.dtype !== "float32")) return undefined;
  const { info, array } = backend.floatOutput(first.shape);
  const add = backend.addon.binaryOps.indexOf("Add");
  let sum = backend.floats(op, "a", first);
  for (const tensor of tensors.slice(1)) {
    backend.addon.binary(add, sum, backend.floats(op, "b", tensor), array, [array.length], [1], [1]);
    sum = array;
  }
  return info;
});

const filled = (backend: NativeBackend, shape: ReadonlyArray<number>, value: number): tf.TensorInfo => {
  const { info, array } = backend.floatOutput(shape);
  array.fill(value);
  return info;
};
const fill = kernel<{ shape: number[]; value: number | string; dtype?: tf.DataType }>(
  ({ attrs, backend }) => {
    const { shape, value, dtype = "float32" } = attrs;
    return dtype === "float32" && typeof value === "number" ? filled(backend, shape, value) : undefined;
  },
);
const like = (value: number) =>
  kernel(({ inputs, backend }) => {
    const x = inputs.x!;
    return x.dtype === "float32" ? filled(backend, x.shape, value) : undefined;
  });

export const elementwiseKernels = (addon: NativeAddon): Record<string, NativeKernel> => ({
  ...Object.fromEntries(
    addon.unaryOps.map((name, code) => [name, unaryKernel(code, unaryParameters[name] ?? none)]),
  ),
  ...Object.fromEntries(addon.binaryOps.map((name, code) => [name, binaryKernel(name, code)])),
  RlhfAddInto: addIntoKernel(addon.binaryOps.indexOf("Add")),
  ...Object.fromEntries(addon.comparisons.map((name, code) => [name, comparisonKernel(code)])),
  LogicalNot: logicalNot,
  Select: select,
  Cast: cast,
  AddN: addN,
  Fill: fill,
  ZerosLike: like(0),
  OnesLike: like(1),
});
