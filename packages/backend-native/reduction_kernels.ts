/** Kernels that reduce or run along an axis. */
import { type KernelCall, kernel, type NativeKernel } from "./_kernel.ts";
import { type NativeBackend, sizeOf } from "./backend.ts";
import { permuted } from "./layout_kernels.ts";

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

/** x as [outer, reduced, inner]: in place when the reduced axes lie together, else with them moved to the end. */
const grouped = (backend: NativeBackend, op: string, x: KernelCall["inputs"][string], axes: Set<number>) => {
  const { shape } = x;
  const reducedAxes = shape.map((_, axis) => axis).filter((axis) => axes.has(axis));
  const keptAxes = shape.map((_, axis) => axis).filter((axis) => !axes.has(axis));
  const significant = reducedAxes.filter((axis) => shape[axis] !== 1);
  const [first, last] = [significant[0] ?? 0, significant.at(-1) ?? -1];
  const together = keptAxes.every((axis) => axis < first || axis > last || shape[axis] === 1);
  const reduced = sizeOf(reducedAxes.map((axis) => shape[axis]!));
  const values = backend.floats(op, "x", x);
  if (together) {
    const inner = sizeOf(shape.slice(last + 1).filter((_, i) => !axes.has(last + 1 + i)));
    const outer = sizeOf(keptAxes.filter((axis) => axis < first).map((axis) => shape[axis]!));
    return significant.length > 0
      ? { values, outer, reduced, inner, release: () => {} }
      : { values, outer: 1, reduced, inner: sizeOf(keptAxes.map((axis) => shape[axis]!)), release: () => {} };
  }
  const moved = backend.pool.take(values.length);
  permuted(backend, values, moved, shape, [...keptAxes, ...reducedAxes]);
  const outer = sizeOf(keptAxes.map((axis) => shape[axis]!));
  return { values: moved, outer, reduced, inner: 1, release: () => backend.pool.give(moved) };
};

const reductionKernel = (kind: number, mean: boolean): NativeKernel =>
  kernel<ReductionAttributes>(({ op, inputs, attrs, backend }) => {
    const x = inputs.x!;
    if (x.dtype !== "float32") return undefined;
    const axes = axesOf(attrs.reductionIndices ?? attrs.axis, x.shape.length);
    // The extremum of nothing is the stock kernel's business.
    if (kind !== 0 && x.shape.some((dim, axis) => dim === 0 && axes.has(axis))) return undefined;
    const { values, outer, reduced, inner, release } = grouped(backend, op, x, axes);
    const shape = x.shape.flatMap((dim, axis) => (axes.has(axis) ? (attrs.keepDims ? [1] : []) : [dim]));
    const { info, array } = backend.floatOutput(shape);
    backend.addon.reduce(kind, values, array, outer, reduced, inner, mean && reduced > 0 ? 1 / reduced : 1);
    release();
    return info;
  });

const softmax = kernel<{ dim: number }>(({ op, inputs, attrs, backend }) => {
  const x = inputs.logits!;
  const rank = x.shape.length;
  if (x.dtype !== "float32" || rank === 0 || (attrs.dim !== rank - 1 && attrs.dim !== -1)) return undefined;
  const { info, array } = backend.floatOutput(x.shape);
  const columns = x.shape[rank - 1]!;
  const rows = columns === 0 ? 0 : array.length / columns;
  backend.addon.softmax(backend.floats(op, "logits", x), array, rows, columns, false);
  return info;
});

const cumsum = kernel<{ axis: number; exclusive: boolean; reverse: boolean }>(
  ({ op, inputs, attrs, backend }) => {
    const x = inputs.x!;
    const rank = x.shape.length;
    if (x.dtype !== "float32" || rank === 0) return undefined;
    const { exclusive, reverse } = attrs;
    const axis = attrs.axis < 0 ? attrs.axis + rank : attrs.axis;
    const values = backend.floats(op, "x", x);
    const { info, array } = backend.floatOutput(x.shape);
    const columns = x.shape[axis]!;
    const rows = columns === 0 ? 0 : array.length / columns;
    if (axis === rank - 1) {
      backend.addon.cumulate(values, array, rows, columns, exclusive, reverse);
      return info;
    }
    // There and back through a layout with the axis last.
    const order = [...x.shape.keys()].filter((a) => a !== axis).concat(axis);
    const back = order.map((_, a) => order.indexOf(a));
    const moved = backend.pool.take(array.length);
    const sums = backend.pool.take(array.length);
    permuted(backend, values, moved, x.shape, order);
    backend.addon.cumulate(moved, sums, rows, columns, exclusive, reverse);
    permuted(
      backend,
      sums,
      array,
      order.map((a) => x.shape[a]!),
      back,
    );
    backend.pool.give(moved);
    backend.pool.give(sums);
    return info;
  },
);

export const reductionKernels: Record<string, NativeKernel> = {
  Sum: reductionKernel(0, false),
  Mean: reductionKernel(0, true),
  Max: reductionKernel(1, false),
  Min: reductionKernel(2, false),
  Prod: reductionKernel(3, false),
  Softmax: softmax,
  Cumsum: cumsum,
};
