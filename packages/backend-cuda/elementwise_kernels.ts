/** Kernels that treat every element alike: unary, binary with broadcasting, comparisons, selection, casts. */
import { broadcast_util, type DataType, type TensorInfo } from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { type CudaBackend, sizeOf } from "./backend.ts";
import { kernelSource } from "./sources.ts";
import { broadcastStrides, walkOf } from "./walk.ts";

const file = "elementwise";
const source = kernelSource(file);

/** The operations of a list in kernels/elementwise.cu; their places in it are their numbers. */
const namesOf = (list: string): ReadonlyArray<string> => {
  const [, body = ""] = new RegExp(`#define ${list}\\(OP\\)((?:.*\\\\\n)*.*)`).exec(source) ?? [];
  return Array.from(body.matchAll(/OP\((\w+),/g), ([, name]) => name!);
};

type Numbers = Readonly<Record<string, number>>;
/** Attributes that an operation calls p0 and p1. */
const parametersOf: Readonly<Record<string, (attrs: Numbers) => readonly [number, number]>> = {
  ClipByValue: ({ clipValueMin, clipValueMax }) => [clipValueMin!, clipValueMax!],
  Step: ({ alpha }) => [alpha!, 0],
  LeakyRelu: ({ alpha }) => [alpha!, 0],
};

const unary = (name: string, code: number): Kernel =>
  kernel<"x", Numbers>(({ inputs: { x }, attrs, backend }) => {
    if (x.dtype !== "float32") return undefined;
    const [p0, p1] = parametersOf[name]?.(attrs) ?? [0, 0];
    const size = sizeOf(x.shape);
    const y = backend.output(x.shape);
    backend.launchEach(file, "unary", size, [code, x, y, size, { f32: p0 }, { f32: p1 }]);
    return y;
  });

/** y = f(a, b) with broadcasting, by a kernel that knows `code`. */
const broadcast = (
  backend: CudaBackend,
  name: string,
  code: number,
  { a, b }: Readonly<Record<"a" | "b", TensorInfo>>,
  dtype: DataType,
): TensorInfo | undefined => {
  const shape = broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const [stepsA, stepsB] = [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)];
  const walk = walkOf(shape.map((dim, axis) => ({ dim, a: stepsA[axis]!, b: stepsB[axis]! })));
  if (!walk) return undefined;
  const size = sizeOf(shape);
  const y = backend.output(shape, dtype);
  backend.launchEach(file, name, size, [code, a, b, y, size, walk]);
  return y;
};

const floatOps = namesOf("BINARY_FLOAT");
const intOps = namesOf("BINARY_INT");

const binary = (name: string): Kernel =>
  kernel<"a" | "b">(({ inputs, backend }) => {
    const { a, b } = inputs;
    if (a.dtype === "float32" && b.dtype === "float32") {
      return broadcast(backend, "binary_float", floatOps.indexOf(name), inputs, "float32");
    }
    const code = intOps.indexOf(`Int${name}`);
    if (a.dtype !== "int32" || b.dtype !== "int32" || code < 0) return undefined;
    return broadcast(backend, "binary_int", code, inputs, "int32");
  });

const comparison = (code: number): Kernel =>
  kernel<"a" | "b">(({ inputs, backend }) => {
    const { a, b } = inputs;
    if (a.dtype !== b.dtype || a.dtype === "string" || a.dtype === "complex64") return undefined;
    return broadcast(backend, a.dtype === "float32" ? "compare_float" : "compare_int", code, inputs, "bool");
  });

const logicalNot = kernel<"x">(({ inputs: { x }, backend }) => {
  if (x.dtype !== "bool") return undefined;
  const size = sizeOf(x.shape);
  const y = backend.output(x.shape, "bool");
  backend.launchEach(file, "logical_not", size, [x, y, size]);
  return y;
});

const select = kernel<"condition" | "t" | "e">(({ inputs: { condition, t, e }, backend }) => {
  if (t.dtype !== e.dtype || t.dtype === "string" || t.dtype === "complex64") return undefined;
  const size = sizeOf(t.shape);
  const y = backend.output(t.shape, t.dtype);
  // A condition [n] chooses rows.
  const run = Math.max(1, size / Math.max(1, sizeOf(condition.shape)));
  backend.launchEach(file, "choose", size, [condition, t, e, y, size, run]);
  return y;
});

const converters: Readonly<Record<string, string>> = {
  "float32 int32": "float_to_int",
  "int32 float32": "int_to_float",
  "bool float32": "int_to_float",
  // A bool is an int that is 0 or 1.
  "bool int32": "int_to_bool",
  "float32 bool": "float_to_bool",
  "int32 bool": "int_to_bool",
};

const cast = kernel<"x", { dtype: DataType }>(({ inputs: { x }, attrs: { dtype }, backend }) => {
  if (dtype === x.dtype) return backend.relabelled(x, x.shape);
  const converter = converters[`${x.dtype} ${dtype}`];
  if (!converter) return undefined;
  const size = sizeOf(x.shape);
  const y = backend.output(x.shape, dtype);
  backend.launchEach("convert", converter, size, [x, y, size]);
  return y;
});

/** Σ of a list of tensors of one shape. */
const addN = kernel<string>(({ inputs, backend }) => {
  const [first, ...others] = Object.values(inputs);
  if (!first || others.length === 0) return undefined;
  if ([first, ...others].some(({ dtype }) => dtype !== "float32")) return undefined;
  let sum = first;
  for (const term of others) {
    const next = broadcast(backend, "binary_float", floatOps.indexOf("Add"), { a: sum, b: term }, "float32")!;
    if (sum !== first) backend.free(sum);
    sum = next;
  }
  return sum;
});

const fill = kernel<never, { shape: number[]; value: number | string; dtype?: DataType }>(
  ({ attrs: { shape, value, dtype = "float32" }, backend }) =>
    typeof value === "number" ? backend.filled(shape, value, dtype) : undefined,
);
const like = (value: number): Kernel =>
  kernel<"x">(({ inputs: { x }, backend }) =>
    x.dtype === "string" || x.dtype === "complex64" ? undefined : backend.filled(x.shape, value, x.dtype),
  );

export const elementwiseKernels: Readonly<Record<string, Kernel>> = {
  ...Object.fromEntries(namesOf("UNARY").map((name, code) => [name, unary(name, code)])),
  ...Object.fromEntries(floatOps.map((name) => [name, binary(name)])),
  ...Object.fromEntries(namesOf("COMPARISON").map((name, code) => [name, comparison(code)])),
  LogicalNot: logicalNot,
  Select: select,
  Cast: cast,
  AddN: addN,
  Fill: fill,
  ZerosLike: like(0),
  OnesLike: like(1),
};
