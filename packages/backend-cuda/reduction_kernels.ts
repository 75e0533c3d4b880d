/** Kernels that reduce or run along an axis. */
import type { TensorInfo } from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { type CudaBackend, sizeOf } from "./backend.ts";
import { permuted } from "./layout_kernels.ts";

const file = "reductions";
const block = 256;
/** What one block reduces of a row, and one thread of a column; longer ones are reduced in two steps. */
const rowChunk = 16_384;
const columnChunk = 512;

/** In the order of `enum Reduction` in kernels/reductions.cu. */
const kinds = ["sum", "max", "min", "prod"] as const;
type Kind = (typeof kinds)[number];

interface ReductionAttributes {
  readonly axis?: number | ReadonlyArray<number> | null;
  /** What tfjs calls the axes of a maximum. */
  readonly reductionIndices?: number | ReadonlyArray<number> | null;
  readonly keepDims?: boolean;
}

const axesOf = (axis: ReductionAttributes["axis"], rank: number): Set<number> => {
  if (axis === undefined || axis === null) return new Set(Array.from({ length: rank }, (_, i) => i));
  const list = typeof axis === "number" ? [axis] : axis;
  return new Set(list.map((a) => (a < 0 ? a + rank : a)));
};

/** x as [outer, reduced, inner]: as it lies when the reduced axes lie together, else with them moved to the end. */
const grouped = (backend: CudaBackend, x: TensorInfo, axes: ReadonlySet<number>) => {
  const { shape } = x;
  const all = [...shape.keys()];
  const [reducedAxes, keptAxes] = [
    all.filter((axis) => axes.has(axis)),
    all.filter((axis) => !axes.has(axis)),
  ];
  const product = (some: ReadonlyArray<number>) => sizeOf(some.map((axis) => shape[axis]!));
  const reduced = product(reducedAxes);
  const long = reducedAxes.filter((axis) => shape[axis] !== 1);
  const [first, last] = [long[0] ?? shape.length, long.at(-1) ?? shape.length];
  if (keptAxes.every((axis) => axis < first || axis > last || shape[axis] === 1)) {
    const outer = product(keptAxes.filter((axis) => axis < first));
    const inner = product(keptAxes.filter((axis) => axis > last));
    return { tensor: x, outer, reduced, inner, release: () => {} };
  }
  const moved = permuted(backend, x, [...keptAxes, ...reducedAxes]);
  const release = () => moved && backend.free(moved);
  return moved && { tensor: moved, outer: product(keptAxes), reduced, inner: 1, release };
};

/** [outer, reduced, inner] → [outer, inner]; of long axes parts first, and then these. */
const reduce = (
  backend: CudaBackend,
  kind: Kind,
  x: TensorInfo,
  y: TensorInfo,
  { outer, reduced, inner }: Readonly<Record<"outer" | "reduced" | "inner", number>>,
  scale: number,
): void => {
  const length = inner === 1 ? rowChunk : columnChunk;
  const chunks = Math.max(1, Math.ceil(reduced / length));
  const to = chunks === 1 ? y : backend.output([outer, chunks, inner], y.dtype);
  const code = kinds.indexOf(kind);
  const last = { f32: chunks === 1 ? scale : 1 };
  const type = y.dtype === "float32" ? "float" : "int";
  if (inner === 1) {
    const args = [code, x, to, reduced, chunks, length, last];
    const threads = Math.min(block, 32 * Math.max(1, Math.ceil(reduced / 32)));
    backend.launch(file, `reduce_rows_${type}`, { grid: outer * chunks, block: threads }, args);
  } else {
    const size = outer * chunks * inner;
    backend.launchEach(file, `reduce_columns_${type}`, size, [
      code,
      x,
      to,
      size,
      reduced,
      inner,
      chunks,
      length,
      last,
    ]);
  }
  if (chunks === 1) return;
  reduce(backend, kind, to, y, { outer, reduced: chunks, inner }, scale);
  backend.free(to);
};

const reduction = (kind: Kind, mean = false): Kernel =>
  kernel<"x", ReductionAttributes>(({ inputs: { x }, attrs, backend }) => {
    const int = x.dtype === "int32" && !mean;
    if (x.dtype !== "float32" && !int) return undefined;
    return reducedOver(backend, kind, x, attrs, mean);
  });

/** The outputs have the type of the input. */
const reducedOver = (
  backend: CudaBackend,
  kind: Kind,
  x: TensorInfo,
  attrs: ReductionAttributes,
  mean = false,
): TensorInfo | undefined => {
  const axes = axesOf(attrs.reductionIndices ?? attrs.axis, x.shape.length);
  // The extremum of nothing is the stock kernel's business.
  if (kind !== "sum" && x.shape.some((dim, axis) => dim === 0 && axes.has(axis))) return undefined;
  const group = grouped(backend, x, axes);
  if (!group) return undefined;
  const shape = x.shape.flatMap((dim, axis) => (axes.has(axis) ? (attrs.keepDims ? [1] : []) : [dim]));
  const y = backend.output(shape, x.dtype);
  reduce(backend, kind, group.tensor, y, group, mean && group.reduced > 0 ? 1 / group.reduced : 1);
  group.release();
  return y;
};

/** All is the smallest of bools, Any the largest. */
const logical = (kind: "min" | "max"): Kernel =>
  kernel<"x", ReductionAttributes>(({ inputs: { x }, attrs, backend }) =>
    x.dtype === "bool" ? reducedOver(backend, kind, x, attrs) : undefined,
  );

const argExtreme = (sign: 1 | -1): Kernel =>
  kernel<"x", { axis: number }>(({ inputs: { x }, attrs, backend }) => {
    const rank = x.shape.length;
    const axis = attrs.axis < 0 ? attrs.axis + rank : attrs.axis;
    if (x.dtype !== "float32" || axis !== rank - 1) return undefined;
    const y = backend.output(x.shape.slice(0, -1), "int32");
    const args = [x, y, x.shape[axis]!, { f32: sign }];
    backend.launch(file, "arg_extreme", { grid: sizeOf(y.shape), block }, args);
    return y;
  });

const softmax = kernel<"logits", { dim: number }>(({ inputs: { logits: x }, attrs, backend }) => {
  const rank = x.shape.length;
  if (x.dtype !== "float32" || rank === 0 || (attrs.dim !== rank - 1 && attrs.dim !== -1)) return undefined;
  const y = backend.output(x.shape);
  const columns = x.shape[rank - 1]!;
  const rows = columns === 0 ? 0 : sizeOf(x.shape) / columns;
  backend.launch(file, "softmax", { grid: rows, block }, [x, y, columns]);
  return y;
});

const cumsum = kernel<"x", { axis: number; exclusive: boolean; reverse: boolean }>(
  ({ inputs: { x }, attrs, backend }) => {
    const rank = x.shape.length;
    if (x.dtype !== "float32" || rank === 0) return undefined;
    const axis = attrs.axis < 0 ? attrs.axis + rank : attrs.axis;
    // There and back through a layout with the axis last.
    const order = [...x.shape.keys()].filter((a) => a !== axis).concat(axis);
    const moved = axis === rank - 1 ? x : permuted(backend, x, order);
    if (!moved) return undefined;
    const sums = backend.output(moved.shape);
    const columns = x.shape[axis]!;
    const rows = columns === 0 ? 0 : sizeOf(x.shape) / columns;
    const flags = [attrs.exclusive ? 1 : 0, attrs.reverse ? 1 : 0];
    backend.launch(file, "cumulate", { grid: Math.ceil((32 * rows) / block), block }, [
      moved,
      sums,
      rows,
      columns,
      ...flags,
    ]);
    if (moved === x) return sums;
    const back = permuted(
      backend,
      sums,
      order.map((_, a) => order.indexOf(a)),
    );
    backend.free(moved, sums);
    return back;
  },
);

export const reductionKernels: Readonly<Record<string, Kernel>> = {
  Sum: reduction("sum"),
  Mean: reduction("sum", true),
  Max: reduction("max"),
  Min: reduction("min"),
  Prod: reduction("prod"),
  All: logical("min"),
  Any: logical("max"),
  ArgMax: argExtreme(1),
  ArgMin: argExtreme(-1),
  Softmax: softmax,
  Cumsum: cumsum,
};
