/** Kernels that move elements: transposing, slicing, joining, repeating, gathering. */
import {
  backend_util,
  type DataType,
  slice_util,
  type Tensor,
  type TensorInfo,
  util,
} from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { type CudaBackend, sizeOf } from "./backend.ts";
import { type Axis, stridesOf, walkOf, wholeWalk } from "./walk.ts";

const file = "layout";

interface Side {
  readonly tensor: TensorInfo;
  /** The first element that is read or written. */
  readonly offset?: number;
  /** Elements from one index to the next, per axis. */
  readonly steps: ReadonlyArray<number>;
}

/** to[offset + Σ index · step] = from[…] over all indices below `dims`; false where there are too many axes. */
const copy = (backend: CudaBackend, dims: ReadonlyArray<number>, from: Side, to: Side): boolean => {
  const axes = dims.map((dim, axis): Axis => ({ dim, a: from.steps[axis]!, b: to.steps[axis]! }));
  const walk = walkOf(axes);
  if (!walk) return false;
  const size = sizeOf(dims);
  const side = ({ tensor, offset = 0 }: Side) => ({ at: tensor, offset });
  backend.launchEach(file, "strided_copy", size, [side(from), side(to), size, walk]);
  return true;
};

/** The part of x from `begin` on. */
const sliced = (
  backend: CudaBackend,
  x: TensorInfo,
  begin: ReadonlyArray<number>,
  size: ReadonlyArray<number>,
  shape: ReadonlyArray<number> = size,
): TensorInfo | undefined => {
  const strides = stridesOf(x.shape);
  const offset = begin.reduce((sum, at, axis) => sum + at * strides[axis]!, 0);
  const y = backend.output(shape, x.dtype);
  const done = copy(
    backend,
    size,
    { tensor: x, steps: strides, offset },
    { tensor: y, steps: stridesOf(size) },
  );
  return done ? y : undefined;
};

/** x with its axes in a new order. */
export const permuted = (
  backend: CudaBackend,
  x: TensorInfo,
  order: ReadonlyArray<number>,
): TensorInfo | undefined => {
  const strides = stridesOf(x.shape);
  const dims = order.map((axis) => x.shape[axis]!);
  const y = backend.output(dims, x.dtype);
  const from = { tensor: x, steps: order.map((axis) => strides[axis]!) };
  return copy(backend, dims, from, { tensor: y, steps: stridesOf(dims) }) ? y : undefined;
};

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const identity = kernel<"x">(({ inputs: { x }, backend }) => backend.relabelled(x, x.shape));
const reshape = kernel<"x", { shape: number[] }>(({ op, inputs: { x }, attrs, backend }) => {
  const size = sizeOf(x.shape);
  const shape = util.inferFromImplicitShape(attrs.shape, size);
  if (sizeOf(shape) !== size) {
    throw new RangeError(`Cannot run ${op}: [${x.shape.join(", ")}] does not fill [${shape.join(", ")}]`);
  }
  return backend.relabelled(x, shape);
});
const expandDims = kernel<"input", { dim: number }>(({ inputs: { input }, attrs, backend }) =>
  backend.relabelled(input, input.shape.toSpliced(positive(attrs.dim, input.shape.length + 1), 0, 1)),
);

const transpose = kernel<"x", { perm: number[] }>(({ inputs: { x }, attrs, backend }) =>
  permuted(backend, x, attrs.perm),
);

const slice = kernel<"x", { begin: number[]; size: number[] }>(({ inputs: { x }, attrs, backend }) => {
  const tensor = x as Tensor;
  const [begin, size] = slice_util.parseSliceParams(tensor, attrs.begin, attrs.size) as [number[], number[]];
  slice_util.assertParamsValid(tensor, begin, size);
  return sliced(backend, x, begin, size);
});

const splitV = kernel<"x", { numOrSizeSplits: number | number[]; axis: number }>(
  ({ inputs: { x }, attrs, backend }) => {
    const axis = positive(attrs.axis, x.shape.length);
    const sizes = backend_util.prepareSplitSize(x as Tensor, attrs.numOrSizeSplits, axis);
    let start = 0;
    const outputs = sizes.map((size) => {
      const begin = x.shape.map((_, a) => (a === axis ? start : 0));
      start += size;
      return sliced(backend, x, begin, x.shape.with(axis, size));
    });
    return outputs.every((output) => output !== undefined) ? outputs : undefined;
  },
);

/** Joins parts along an axis of the output; `shapes` are theirs in its rank. */
const joined = (
  backend: CudaBackend,
  parts: ReadonlyArray<TensorInfo>,
  shapes: ReadonlyArray<ReadonlyArray<number>>,
  axis: number,
): TensorInfo | undefined => {
  const [first] = parts;
  if (!first || parts.some(({ dtype }) => dtype !== first.dtype)) return undefined;
  const total = shapes.reduce((sum, shape) => sum + shape[axis]!, 0);
  const y = backend.output(shapes[0]!.with(axis, total), first.dtype);
  const steps = stridesOf(y.shape);
  let start = 0;
  for (const [i, part] of parts.entries()) {
    const shape = shapes[i]!;
    const to = { tensor: y, steps, offset: start * steps[axis]! };
    if (!copy(backend, shape, { tensor: part, steps: stridesOf(shape) }, to)) return undefined;
    start += shape[axis]!;
  }
  return y;
};

const concat = kernel<string, { axis: number }>(({ op, inputs, attrs, backend }) => {
  const parts = Object.values(inputs);
  const shapes = parts.map(({ shape }) => shape);
  const axis = positive(attrs.axis, shapes[0]?.length ?? 0);
  for (const [i, shape] of shapes.entries()) {
    if (shape.length === shapes[0]!.length && shape.every((dim, a) => a === axis || dim === shapes[0]![a]))
      continue;
    const words = `[${shape.join(", ")}] and [${shapes[0]!.join(", ")}]`;
    throw new RangeError(
      `Cannot run ${op}: input ${i} must agree with the first but along axis ${axis}, got ${words}`,
    );
  }
  return joined(backend, parts, shapes, axis);
});

const pack = kernel<string, { axis: number }>(({ op, inputs, attrs, backend }) => {
  const parts = Object.values(inputs);
  const shape = parts[0]?.shape ?? [];
  if (parts.some((part) => !util.arraysEqual(part.shape, shape))) {
    throw new RangeError(`Cannot run ${op}: all inputs must be [${shape.join(", ")}]`);
  }
  const axis = positive(attrs.axis, shape.length + 1);
  return joined(
    backend,
    parts,
    parts.map(() => shape.toSpliced(axis, 0, 1)),
    axis,
  );
});

const unpack = kernel<"value", { axis: number }>(({ inputs: { value: x }, attrs, backend }) => {
  const axis = positive(attrs.axis, x.shape.length);
  const shape = x.shape.toSpliced(axis, 1);
  const outputs = Array.from({ length: x.shape[axis]! }, (_, i) => {
    const begin = x.shape.map((_, a) => (a === axis ? i : 0));
    return sliced(backend, x, begin, x.shape.with(axis, 1), shape);
  });
  return outputs.every((output) => output !== undefined) ? outputs : undefined;
});

const pad = kernel<"x", { paddings: Array<[number, number]>; constantValue: number }>(
  ({ inputs: { x }, attrs: { paddings, constantValue }, backend }) => {
    const shape = x.shape.map((dim, axis) => dim + paddings[axis]![0] + paddings[axis]![1]);
    const y = backend.filled(shape, constantValue, x.dtype);
    const steps = stridesOf(shape);
    const offset = paddings.reduce((sum, [before], axis) => sum + before * steps[axis]!, 0);
    const done = copy(
      backend,
      x.shape,
      { tensor: x, steps: stridesOf(x.shape) },
      { tensor: y, steps, offset },
    );
    return done ? y : undefined;
  },
);

const tile = kernel<"x", { reps: number[] }>(({ inputs: { x }, attrs, backend }) => {
  const y = backend.output(
    x.shape.map((dim, axis) => dim * attrs.reps[axis]!),
    x.dtype,
  );
  // Every axis becomes two: the repeats, which stay in place on the input's side, and the axis itself.
  const [from, to] = [stridesOf(x.shape), stridesOf(y.shape)];
  const axes = x.shape.flatMap((dim, axis) => [
    { dim: attrs.reps[axis]!, a: 0, b: dim * to[axis]! },
    { dim, a: from[axis]!, b: to[axis]! },
  ]);
  const dims = axes.map(({ dim }) => dim);
  const source = { tensor: x, steps: axes.map(({ a }) => a) };
  return copy(backend, dims, source, { tensor: y, steps: axes.map(({ b }) => b) }) ? y : undefined;
});

const reverse = kernel<"x", { dims: number[] }>(({ inputs: { x }, attrs, backend }) => {
  const axes = new Set(attrs.dims.map((axis) => positive(axis, x.shape.length)));
  const strides = stridesOf(x.shape);
  const offset = strides.reduce(
    (sum, step, axis) => sum + (axes.has(axis) ? step * (x.shape[axis]! - 1) : 0),
    0,
  );
  const steps = strides.map((step, axis) => (axes.has(axis) ? -step : step));
  const y = backend.output(x.shape, x.dtype);
  return copy(backend, x.shape, { tensor: x, steps, offset }, { tensor: y, steps: strides }) ? y : undefined;
});

/** The bits that stand for a number in a tensor of this type. */
const bitsOf = (value: number, dtype: DataType): number =>
  dtype === "float32" ? new Int32Array(Float32Array.of(value).buffer)[0]! : Math.trunc(value);

/** An id that is none gives NaN, or 0 among ints: a kernel cannot throw. */
const gather = kernel<"x" | "indices", { axis: number; batchDims: number }>(
  ({ inputs: { x, indices }, attrs, backend }) => {
    if (indices.dtype !== "int32") return undefined;
    const axis = positive(attrs.axis, x.shape.length);
    const { batchSize, outerSize, dimSize, sliceSize, outputShape } =
      backend_util.segment_util.collectGatherOpShapeInfo(
        x as Tensor,
        indices as Tensor,
        axis,
        attrs.batchDims,
      );
    const y = backend.output(outputShape, x.dtype);
    const size = sizeOf(outputShape);
    const count = sizeOf(indices.shape) / Math.max(1, batchSize);
    const absent = bitsOf(x.dtype === "float32" ? Number.NaN : 0, x.dtype);
    const args = [x, indices, y, size, outerSize, dimSize, sliceSize, count, absent];
    backend.launchEach(file, "gather", size, args);
    return y;
  },
);

/** y[ids[i]] += x[i], in order; ids that are no row are skipped. */
const scatterSum = (
  backend: CudaBackend,
  x: TensorInfo,
  ids: TensorInfo,
  y: TensorInfo,
  sizes: { readonly count: number; readonly rows: number; readonly width: number },
): void => {
  const { count, rows, width } = sizes;
  backend.launch(file, "scatter_sum", { grid: count, block: 256 }, [x, ids, y, count, rows, width]);
};

const unsortedSegmentSum = kernel<"x" | "segmentIds", { numSegments: number }>(
  ({ inputs: { x, segmentIds }, attrs: { numSegments }, backend }) => {
    if (x.dtype !== "float32" || segmentIds.dtype !== "int32" || segmentIds.shape.length !== 1)
      return undefined;
    const [count = 0, ...rest] = x.shape;
    const y = backend.zeros([numSegments, ...rest]);
    scatterSum(backend, x, segmentIds, y, { count, rows: numSegments, width: sizeOf(rest) });
    return y;
  },
);

/** Indices outside of the shape are skipped. */
const scatterNd = kernel<"indices" | "updates", { shape: number[] }>(
  ({ inputs: { indices, updates }, attrs: { shape }, backend }) => {
    const depth = indices.shape.at(-1) ?? 1;
    if (updates.dtype !== "float32" || indices.dtype !== "int32" || depth > 8) return undefined;
    const [outer, inner] = [shape.slice(0, depth), shape.slice(depth)];
    const count = sizeOf(indices.shape) / depth;
    const y = backend.zeros(shape);
    const rows = backend.output([count], "int32");
    const walk = wholeWalk(outer, stridesOf(outer));
    backend.launchEach(file, "row_numbers", count, [indices, rows, count, depth, walk]);
    scatterSum(backend, updates, rows, y, { count, rows: sizeOf(outer), width: sizeOf(inner) });
    backend.free(rows);
    return y;
  },
);

const oneHot = kernel<"indices", { depth: number; onValue: number; offValue: number; dtype: DataType }>(
  ({ inputs: { indices }, attrs: { depth, onValue, offValue, dtype }, backend }) => {
    if (indices.dtype !== "int32") return undefined;
    const y = backend.output([...indices.shape, depth], dtype);
    const size = sizeOf(y.shape);
    const args = [indices, y, size, depth, bitsOf(onValue, dtype), bitsOf(offValue, dtype)];
    backend.launchEach(file, "one_hot", size, args);
    return y;
  },
);

export const layoutKernels: Readonly<Record<string, Kernel>> = {
  Identity: identity,
  Reshape: reshape,
  ExpandDims: expandDims,
  Transpose: transpose,
  Slice: slice,
  SplitV: splitV,
  Concat: concat,
  Pack: pack,
  Unpack: unpack,
  PadV2: pad,
  Tile: tile,
  Reverse: reverse,
  GatherV2: gather,
  UnsortedSegmentSum: unsortedSegmentSum,
  ScatterNd: scatterNd,
  OneHot: oneHot,
};
