/** tfjs's own operations on the GPU against the stock kernels of the cpu backend; none may fall back to those. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeEach, describe, expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { plainTolerances } from "../tensor/testing/plain_case.ts";
import { plainCases } from "../tensor/testing/plain_cases.ts";
import { expectClose, runOn } from "../tensor/testing/run_on.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";
import { hasDevice } from "./testing/emulator.ts";

const bytesInUse = () => (tf.memory() as tf.MemoryInfo & { numBytesInGPU: number }).numBytesInGPU;

describe.skipIf(!hasDevice())("plain kernels", () => {
  beforeEach(async () => {
    await useBackend("cuda");
    resetFallbackCounts();
  });

  it.each(plainCases)("$name", async ({ group, inputs, operation }) => {
    const actual = await runOn("cuda", inputs, operation);
    expect(fallbackCounts()).toEqual({});
    expectClose(actual, await runOn("cpu", inputs, operation), plainTolerances[group]);
  });

  it("gives NaN for an index that is none", async () => {
    const y = tf.tidy(() => tf.gather(tf.ones([5, 2]), tf.tensor1d([4, 5, -1], "int32")));
    expect(Array.from(await y.data())).toEqual([1, 1, Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
    y.dispose();
  });

  it("refuses what does not fit and leaves no memory behind", () => {
    const before = bytesInUse();
    tf.tidy(() => {
      expect(() => tf.add(tf.ones([3]), tf.ones([4]))).toThrow();
      expect(() => tf.matMul(tf.ones([3, 2]), tf.ones([4, 3]))).toThrow();
    });
    expect(bytesInUse()).toBe(before);
  });

  it("counts what runs in JavaScript, and gives its numbers", async () => {
    const y = tf.tidy(() => tf.atan(tf.ones([3])));
    expect(Array.from(await y.data())).toEqual(
      Array.from(Float32Array.of(1, 1, 1), (x) => Math.fround(Math.atan(x))),
    );
    y.dispose();
    expect(fallbackCounts()).toEqual({ Atan: 1 });
  });
});
