/** Kernels that move elements: transposing, slicing, joining, repeating, gathering. */
import type * as tf from "@tensorflow/tfjs-core";
import { backend_util, slice_util } from "@tensorflow/tfjs-core";
import { kernel, type NativeKernel, requireShape } from "./_kernel.ts";
import { type NativeBackend, sizeOf } from "./backend.ts";

type Elements = Float32Array | Int32Array | Uint8Array;

const stridesOf = (shape: ReadonlyArray<number>): number[] => {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
};

/** A strided copy, with neighbouring axes joined where both sides run on without a gap. */
const copy = (
  backend: NativeBackend,
  from: Elements,
  to: Elements,
  walk: {
    readonly dims: ReadonlyArray<number>;
    readonly fromSteps: ReadonlyArray<number>;
    readonly toSteps: ReadonlyArray<number>;
    readonly fromOffset?: number;
    readonly toOffset?: number;
  },
): void => {
  if (walk.dims.includes(0)) return;
  const dims: number[] = [];
  const fromSteps: number[] = [];
  const toSteps: number[] = [];
  for (const [axis, dim] of walk.dims.entries()) {
    if (dim === 1) continue;
    const [fromStep, toStep] = [walk.fromSteps[axis]!, walk.toSteps[axis]!];
    const last = dims.length - 1;
    if (last >= 0 && fromSteps[last] === fromStep * dim && toSteps[last] === toStep * dim) {
      dims[last]! *= dim;
      fromSteps[last] = fromStep;
      toSteps[last] = toStep;
    } else {
      dims.push(dim);
      fromSteps.push(fromStep);
      toSteps.push(toStep);
    }
  }
  if (dims.length === 0) {
    dims.push(1);
    fromSteps.push(1);
    toSteps.push(1);
  }
  backend.addon.copy(from, to, walk.fromOffset ?? 0, walk.toOffset ?? 0, dims, fromSteps, toSteps);
};

/** to = from with its axes in a new order. */
export const permuted = (
  backend: NativeBackend,
  from: Elements,
  to: Elements,
  shape: ReadonlyArray<number>,
  order: ReadonlyArray<number>,
): void => {
  const strides = stridesOf(shape);
  const dims = order.map((axis) => shape[axis]!);
  copy(backend, from, to, { dims, fromSteps: order.map((axis) => strides[axis]!), toSteps: stridesOf(dims) });
};

/** An output of the input's type, or none for strings and complex numbers. */
const outputLike = (
  backend: NativeBackend,
  x: tf.TensorInfo,
  shape: ReadonlyArray<number>,
): { info: tf.TensorInfo; array: Elements; from: Elements } | undefined => {
  const from =
    x.dtype === "float32" || x.dtype === "int32" || x.dtype === "bool" ? backend.array(x) : undefined;
  if (shape.length > 8) return undefined;
  if (x.dtype === "float32" && from instanceof Float32Array) return { ...backend.floatOutput(shape), from };
  const size = sizeOf(shape);
  const array =
    from instanceof Int32Array
      ? new Int32Array(size)
      : from instanceof Uint8Array
        ? new Uint8Array(size)
        : undefined;
  return array && from && { info: backend.output(shape, x.dtype, array), array, from };
};

/** The same data under another shape. */
const relabelled = (backend: NativeBackend, x: tf.TensorInfo, shape: number[]): tf.TensorInfo => {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape, dtype: x.dtype };
};
const identity = kernel(({ inputs, backend }) => {
  const x = inputs.x!;
  return x.dtype === "complex64" ? undefined : relabelled(backend, x, x.shape);
});
const reshape = kernel<{ shape: number[] }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const { shape } = attrs;
  // A shape with an unknown dimension or of another size is the stock kernel's business.
  if (x.dtype === "complex64" || shape.includes(-1) || sizeOf(shape) !== sizeOf(x.shape)) return undefined;
  return relabelled(backend, x, shape);
});

const transpose = kernel<{ perm: number[] }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const shape = attrs.perm.map((axis) => x.shape[axis]!);
  const output = outputLike(backend, x, shape);
  if (!output) return undefined;
  permuted(backend, output.from, output.array, x.shape, attrs.perm);
  return output.info;
});

const slice = kernel<{ begin: number[]; size: number[] }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const [begin, size] = slice_util.parseSliceParams(x as tf.Tensor, attrs.begin, attrs.size) as [
    number[],
    number[],
  ];
  slice_util.assertParamsValid(x as tf.Tensor, begin, size);
  const output = outputLike(backend, x, size);
  if (!output) return undefined;
  copySlice(backend, output.from, x.shape, begin, output.array, size);
  return output.info;
});

const copySlice = (
  backend: NativeBackend,
  from: Elements,
  shape: ReadonlyArray<number>,
  begin: ReadonlyArray<number>,
  to: Elements,
  size: ReadonlyArray<number>,
): void => {
  const strides = stridesOf(shape);
  const fromOffset = begin.reduce((offset, at, axis) => offset + at * strides[axis]!, 0);
  copy(backend, from, to, { dims: size, fromSteps: strides, toSteps: stridesOf(size), fromOffset });
};

const splitV = kernel<{ numOrSizeSplits: number | number[]; axis: number }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const axis = attrs.axis < 0 ? attrs.axis + x.shape.length : attrs.axis;
  const sizes = backend_util.prepareSplitSize(x as tf.Tensor, attrs.numOrSizeSplits, axis);
  const outputs: tf.TensorInfo[] = [];
  const begin = x.shape.map(() => 0);
  for (const size of sizes) {
    const shape = x.shape.map((dim, a) => (a === axis ? size : dim));
    const output = outputLike(backend, x, shape);
    if (!output) return undefined;
    copySlice(backend, output.from, x.shape, begin, output.array, shape);
    begin[axis]! += size;
    outputs.push(output.info);
  }
  return outputs;
});

/** Joins parts along an axis of the output that every part fills from `offset` on. */
const joined = (
  backend: NativeBackend,
  parts: ReadonlyArray<{ readonly info: tf.TensorInfo; readonly shape: ReadonlyArray<number> }>,
  axis: number,
): tf.TensorInfo | undefined => {
  const [first] = parts;
  if (!first || parts.some(({ info }) => info.dtype !== first.info.dtype)) return undefined;
  const total = parts.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  const shape = first.shape.map((dim, a) => (a === axis ? total : dim));
  const output = outputLike(backend, first.info, shape);
  if (!output) return undefined;
  const toSteps = stridesOf(shape);
  let offset = 0;
  for (const part of parts) {
    copy(backend, backend.array(part.info), output.array, {
      dims: part.shape,
      fromSteps: stridesOf(part.shape),
      toSteps,
      toOffset: offset * toSteps[axis]!,
    });
    offset += part.shape[axis]!;
  }
  return output.info;
};

const concat = kernel<{ axis: number }>(({ op, inputs, attrs, backend }) => {
  const tensors = Object.values(inputs);
  const rank = tensors[0]?.shape.length ?? 0;
  const axis = attrs.axis < 0 ? attrs.axis + rank : attrs.axis;
  const expected = tensors[0]!.shape.map((dim, a) => (a === axis ? "any" : dim));
  for (const [i, tensor] of tensors.entries()) requireShape(op, `input ${i}`, tensor, expected);
  return joined(
    backend,
    tensors.map((info) => ({ info, shape: info.shape })),
    axis,
  );
});

const pack = kernel<{ axis: number }>(({ op, inputs, attrs, backend }) => {
  const tensors = Object.values(inputs);
  const rank = (tensors[0]?.shape.length ?? 0) + 1;
  const axis = attrs.axis < 0 ? attrs.axis + rank : attrs.axis;
  for (const [i, tensor] of tensors.entries()) requireShape(op, `input ${i}`, tensor, tensors[0]!.shape);
  return joined(
    backend,
    tensors.map((info) => ({ info, shape: info.shape.toSpliced(axis, 0, 1) })),
    axis,
  );
});

const unpack = kernel<{ axis: number }>(({ inputs, attrs, backend }) => {
  const x = inputs.value!;
  const axis = attrs.axis < 0 ? attrs.axis + x.shape.length : attrs.axis;
  const outputs: tf.TensorInfo[] = [];
  const size = x.shape.map((dim, a) => (a === axis ? 1 : dim));
  for (let i = 0; i < x.shape[axis]!; i++) {
    const output = outputLike(backend, x, x.shape.toSpliced(axis, 1));
    if (!output) return undefined;
    const begin = x.shape.map((_, a) => (a === axis ? i : 0));
    copySlice(backend, output.from, x.shape, begin, output.array, size);
    outputs.push(output.info);
  }
  return outputs;
});

const pad = kernel<{ paddings: Array<[number, number]>; constantValue: number }>(
  ({ inputs, attrs, backend }) => {
    const x = inputs.x!;
    const { paddings, constantValue } = attrs;
    const shape = x.shape.map((dim, axis) => dim + paddings[axis]![0] + paddings[axis]![1]);
    const output = outputLike(backend, x, shape);
    if (!output) return undefined;
    output.array.fill(constantValue);
    const toSteps = stridesOf(shape);
    const toOffset = paddings.reduce((offset, [before], axis) => offset + before * toSteps[axis]!, 0);
    copy(backend, output.from, output.array, {
      dims: x.shape,
      fromSteps: stridesOf(x.shape),
      toSteps,
      toOffset,
    });
    return output.info;
  },
);

const tile = kernel<{ reps: number[] }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const shape = x.shape.map((dim, axis) => dim * attrs.reps[axis]!);
  const output = outputLike(backend, x, shape);
  if (!output) return undefined;
  // Every axis becomes two: the repeats, which stay in place on the input's side, and the axis itself.
  const [from, to] = [stridesOf(x.shape), stridesOf(shape)];
  const walk = x.shape
    .flatMap((dim, axis) => [
      { dim: attrs.reps[axis]!, from: 0, to: dim * to[axis]! },
      { dim, from: from[axis]!, to: to[axis]! },
    ])
    .filter(({ dim }) => dim !== 1);
  if (walk.length > 8) return undefined;
  copy(backend, output.from, output.array, {
    dims: walk.map(({ dim }) => dim),
    fromSteps: walk.map((axis) => axis.from),
    toSteps: walk.map((axis) => axis.to),
  });
  return output.info;
});

const reverse = kernel<{ dims: number[] }>(({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const output = outputLike(backend, x, x.shape);
  if (!output) return undefined;
  const axes = new Set(attrs.dims.map((axis) => (axis < 0 ? axis + x.shape.length : axis)));
  const strides = stridesOf(x.shape);
  const fromOffset = strides.reduce(
    (sum, step, axis) => sum + (axes.has(axis) ? step * (x.shape[axis]! - 1) : 0),
    0,
  );
  const fromSteps = strides.map((step, axis) => (axes.has(axis) ? -step : step));
  copy(backend, output.from, output.array, { dims: x.shape, fromSteps, toSteps: strides, fromOffset });
  return output.info;
});

const gather = kernel<{ axis: number; batchDims: number }>(({ op, inputs, attrs, backend }) => {
  const [x, indices] = [inputs.x!, inputs.indices!];
  const axis = attrs.axis < 0 ? attrs.axis + x.shape.length : attrs.axis;
  if (indices.dtype !== "int32") return undefined;
  const { batchSize, outerSize, dimSize, sliceSize, outputShape } =
    backend_util.segment_util.collectGatherOpShapeInfo(
      x as tf.Tensor,
      indices as tf.Tensor,
      axis,
      attrs.batchDims,
    );
  if (batchSize > 1 && outerSize > 1) return undefined;
  const output = outputLike(backend, x, outputShape);
  if (!output) return undefined;
  const ids = backend.ints(op, "indices", indices);
  if (batchSize === 1) {
    backend.addon.gather(output.from, ids, output.array, outerSize, dimSize, sliceSize, ids.length);
  } else {
    // One axis of batch · dim, in which every batch's numbers start where its rows do.
    const bad = ids.find((id) => id < 0 || id >= dimSize);
    if (bad !== undefined) throw new RangeError(`Cannot run ${op}: index ${bad} is not in [0, ${dimSize})`);
    const perBatch = ids.length / batchSize;
    const flat = ids.map((id, i) => id + Math.floor(i / perBatch) * dimSize);
    backend.addon.gather(output.from, flat, output.array, 1, batchSize * dimSize, sliceSize, flat.length);
  }
  return output.info;
});

/** out[segmentIds[i]] += x[i]; ids that are no segment are skipped. */
const unsortedSegmentSum = kernel<{ numSegments: number }>(({ op, inputs, attrs, backend }) => {
  const [x, ids] = [inputs.x!, inputs.segmentIds!];
  if (x.dtype !== "float32" || ids.dtype !== "int32" || ids.shape.length !== 1) return undefined;
  requireShape(op, "segmentIds", ids, [x.shape[0]!]);
  const { info, array } = backend.floatOutput([attrs.numSegments, ...x.shape.slice(1)]);
  const width = sizeOf(x.shape.slice(1));
  backend.addon.scatterAdd(
    backend.floats(op, "x", x),
    backend.ints(op, "segmentIds", ids),
    array,
    ids.shape[0]!,
    attrs.numSegments,
    width,
  );
  return info;
});

const oneHot = kernel<{ depth: number; onValue: number; offValue: number; dtype: tf.DataType }>(
  ({ op, inputs, attrs, backend }) => {
    const { depth, onValue, offValue, dtype } = attrs;
    const indices = inputs.indices!;
    if (indices.dtype !== "int32" || (dtype !== "float32" && dtype !== "int32")) return undefined;
    const ids = backend.ints(op, "indices", indices);
    const array =
      dtype === "float32" ? backend.pool.take(ids.length * depth) : new Int32Array(ids.length * depth);
    array.fill(offValue);
    for (const [i, id] of ids.entries()) if (id >= 0 && id < depth) array[i * depth + id] = onValue;
    return backend.output([...indices.shape, depth], dtype, array);
  },
);

export const layoutKernels: Record<string, NativeKernel> = {
  Identity: identity,
  Reshape: reshape,
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
  OneHot: oneHot,
};
