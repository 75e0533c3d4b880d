/** How two arrays are walked over together: `struct Walk` of kernels/walk.cuh. */
import type { Scalar } from "./device.ts";

const maxRank = 8;

export interface Axis {
  readonly dim: number;
  /** Elements from one index to the next: 0 where an array is broadcast, negative where it runs backwards. */
  readonly a: number;
  readonly b: number;
}

/** The argument of a kernel: as few axes as possible; undefined where there are more than eight. */
export const walkOf = (axes: ReadonlyArray<Axis>): Scalar | undefined => {
  const joined: Axis[] = [];
  for (const axis of axes) {
    if (axis.dim === 1) continue;
    const outer = joined.at(-1);
    // Both arrays run on without a gap: one longer axis does.
    if (outer && outer.a === axis.a * axis.dim && outer.b === axis.b * axis.dim) {
      joined[joined.length - 1] = { dim: outer.dim * axis.dim, a: axis.a, b: axis.b };
    } else joined.push(axis);
  }
  return joined.length > maxRank ? undefined : argumentOf(joined);
};

/** The argument of a kernel that wants the axes of one array as they are; at most eight. */
export const wholeWalk = (dims: ReadonlyArray<number>, steps: ReadonlyArray<number>): Scalar =>
  argumentOf(dims.map((dim, axis) => ({ dim, a: steps[axis]!, b: 0 })));

const argumentOf = (axes: ReadonlyArray<Axis>): Scalar => {
  const ints = new Array<number>(1 + 3 * maxRank).fill(0);
  ints[0] = axes.length;
  for (const [i, { dim, a, b }] of axes.entries()) {
    ints[1 + i] = dim;
    ints[1 + maxRank + i] = a;
    ints[1 + 2 * maxRank + i] = b;
  }
  return { ints };
};

export const stridesOf = (shape: ReadonlyArray<number>): number[] => {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
};

/** The steps of an array along the axes of a longer shape that it is broadcast to. */
export const broadcastStrides = (own: ReadonlyArray<number>, result: ReadonlyArray<number>): number[] => {
  const strides = stridesOf(own);
  return result.map((_, axis) => {
    const at = axis - (result.length - own.length);
    return at < 0 || own[at] === 1 ? 0 : strides[at]!;
  });
};
