/** tfjs's own matrix product, batched and broadcast. */
import { broadcast_util } from "@tensorflow/tfjs-core";
import { type Kernel, kernel } from "./_kernel.ts";
import { sizeOf } from "./backend.ts";
import { broadcastStrides } from "./walk.ts";

/** For every batch of the result, the number of the input's batch that it reads. */
const batchNumbers = (own: ReadonlyArray<number>, result: ReadonlyArray<number>): ReadonlyArray<number> => {
  const steps = broadcastStrides(own, result);
  return Array.from({ length: sizeOf(result) }, (_, batch) => {
    let [number, rest] = [0, batch];
    for (let axis = result.length - 1; axis >= 0; axis--) {
      number += (rest % result[axis]!) * steps[axis]!;
      rest = Math.floor(rest / result[axis]!);
    }
    return number;
  });
};

/** The step between numbers that lie equally far apart. */
const commonStep = (numbers: ReadonlyArray<number>): number | undefined => {
  const step = (numbers[1] ?? 0) - (numbers[0] ?? 0);
  return numbers.every((number, i) => number === i * step) ? step : undefined;
};

const batchMatMul = kernel<"a" | "b", { transposeA: boolean; transposeB: boolean }>(
  ({ op, inputs: { a, b }, attrs: { transposeA, transposeB }, backend }) => {
    if (a.dtype !== "float32" || b.dtype !== "float32") return undefined;
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
    const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
    const batch = broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
    const shape = [...batch, m, n];
    if (k === 0) return backend.zeros(shape);
    const c = backend.output(shape);
    const sizes = { m, n, k, transposeA, transposeB };
    const [numbersA, numbersB] = [batchNumbers(batchA, batch), batchNumbers(batchB, batch)];
    const [stepA, stepB] = [commonStep(numbersA), commonStep(numbersB)];
    if (stepA !== undefined && stepB !== undefined) {
      const steps = { count: numbersA.length, a: stepA * m * k, b: stepB * k * n, c: m * n };
      backend.gemm({ a, b, c, ...sizes, batch: steps });
      return c;
    }
    for (const [i, numberA] of numbersA.entries()) {
      const offsets = { aOffset: numberA * m * k, bOffset: numbersB[i]! * k * n, cOffset: i * m * n };
      backend.gemm({ a, b, c, ...sizes, ...offsets });
    }
    return c;
  },
);

export const productKernels: Readonly<Record<string, Kernel>> = { BatchMatMul: batchMatMul };
