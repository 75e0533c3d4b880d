/** tfjs's own operations in C++ against the stock kernels of the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { type PlainCase, plainTolerances } from "../tensor/testing/plain_case.ts";
import { plainCases } from "../tensor/testing/plain_cases.ts";
import { expectClose, floats, type Raw, runOn } from "../tensor/testing/run_on.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";
import { describeInstructionSets, runNative } from "./testing/instruction_sets.ts";

/** What the cpu backend gives, once for all instruction sets. */
const references = new Map<PlainCase, Raw[]>();

describeInstructionSets(() => {
  it.each(plainCases)("$name", async (plain) => {
    const { group, inputs, operation } = plain;
    const expected = references.get(plain) ?? (await runOn("cpu", inputs, operation));
    references.set(plain, expected);
    expectClose(await runNative(inputs, operation), expected, plainTolerances[group]);
  });

  it("exp from the smallest to the largest number", async () => {
    const values = Float32Array.from({ length: 4001 }, (_, i) => -110 + i * 0.05);
    const [result] = await runNative([{ values, shape: [4001], dtype: "float32" }], ([x]) => tf.exp(x!));
    for (const [i, x] of values.entries()) {
      const exact = Math.fround(Math.exp(x));
      const error = Math.abs(result!.values[i]! - exact);
      if (!(result!.values[i] === exact)) expect(error).toBeLessThanOrEqual(4e-7 * exact + 3e-45);
    }
  });

  it("a row of a product does not depend on the other rows", async () => {
    const [a, b] = [floats(1, [100, 700]), floats(2, [700, 90])];
    const [all] = await runNative([a, b], ([x, y]) => tf.matMul(x!, y!));
    for (const rows of [1, 3, 20, 40]) {
      const [some] = await runNative([a, b], ([x, y]) => tf.matMul(tf.slice(x!, [0, 0], [rows, 700]), y!));
      expect(some!.values).toEqual(all!.values.slice(0, rows * 90));
    }
  });
});

it("refuses shapes that do not broadcast", async () => {
  await useBackend("native");
  expect(() => tf.add(tf.ones([3]), tf.ones([4]))).toThrow();
});

it("refuses an index out of range before it reads", async () => {
  await useBackend("native");
  for (const id of [5, -1, 2 ** 30]) {
    expect(() => tf.gather(tf.ones([5, 4]), tf.tensor1d([id], "int32"))).toThrow(RangeError);
  }
});

it("counts large calls that run in JavaScript", async () => {
  await useBackend("native");
  resetFallbackCounts();
  tf.tidy(() => {
    tf.add(tf.ones([5000]), 1);
    tf.argMax(tf.ones([10]));
  });
  expect(fallbackCounts()).toEqual({});
  tf.tidy(() => tf.argMax(tf.ones([5000])));
  expect(fallbackCounts()).toEqual({ ArgMax: 1 });
});
