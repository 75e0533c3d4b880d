/** Batched matrix products. */
import { broadcast_util } from "@tensorflow/tfjs-core";
import { kernel, type NativeKernel } from "./_kernel.ts";
import { sizeOf } from "./backend.ts";

/** For every batch of the result, the number of the input's batch that it reads. */
const batchNumbers = (own: ReadonlyArray<number>, result: ReadonlyArray<number>): number[] => {
  const steps = new Array<number>(result.length).fill(0);
  let step = 1;
  for (let axis = 1; axis <= own.length; axis++) {
    const dim = own[own.length - axis]!;
    if (dim !== 1) steps[result.length - axis] = step;
    step *= dim;
  }
  return Array.from({ length: sizeOf(result) }, (_, batch) => {
    let [number, rest] = [0, batch];
    for (let axis = result.length - 1; axis >= 0; axis--) {
      number += (rest % result[axis]!) * steps[axis]!;
      rest = Math.floor(rest / result[axis]!);
    }
    return number;
  });
};

const batchMatMul = kernel<{ transposeA: boolean; transposeB: boolean }>(({ op, inputs, attrs, backend }) => {
  const [a, b] = [inputs.a!, inputs.b!];
  if (a.dtype !== "float32" || b.dtype !== "float32" || a.shape.length < 2 || b.shape.length < 2)
    return undefined;
  const { transposeA, transposeB } = attrs;
  const [rowsA, columnsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [innerB, n] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  if (k !== innerB) {
    const shapes = `[${a.shape.join(", ")}] and [${b.shape.join(", ")}]`;
    throw new RangeError(
      `Cannot run ${op}: inner dimensions must agree, got ${k} and ${innerB} of ${shapes}`,
    );
  }
  const batchA = a.shape.slice(0, -2);
  const batchB = b.shape.slice(0, -2);
  const batch = broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  const { info, array } = backend.floatOutput([...batch, m, n]);
  backend.addon.multiply(
    backend.floats(op, "a", a),
    backend.floats(op, "b", b),
    array,
    m,
    n,
    k,
    transposeA,
    transposeB,
    batchNumbers(batchA, batch).map((number) => number * m * k),
    batchNumbers(batchB, batch).map((number) => number * k * n),
  );
  return info;
});

export const productKernels: Record<string, NativeKernel> = { BatchMatMul: batchMatMul };
