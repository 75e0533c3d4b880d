/**
 * The fused kernels, values and gradients, against the composed form of their operations on the stock cpu backend; on
 * every instruction set, with several threads and with one.
 */
import type * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { attention } from "../tensor/attention.ts";
import { hasFusedKernel } from "../tensor/fused_kernels.ts";
import { fusedCases, tolerance } from "../tensor/testing/fused_cases.ts";
import { differentiableCases, emptyCases, type FusedCase } from "../tensor/testing/layer_cases.ts";
import { randomNumbers } from "../tensor/testing/numbers.ts";
import { expectClose, floats, type Raw, runOn, weightsOf, withGradients } from "../tensor/testing/run_on.ts";
import { loadAddon } from "./addon.ts";
import { describeInstructionSets, runNative } from "./testing/instruction_sets.ts";

/** What the cpu backend gives, once for all instruction sets. */
const references = new Map<FusedCase, Raw[]>();

describeInstructionSets(() => {
  it.each(fusedCases)("$kernel $name", async (fused) => {
    const { kernel, inputs, operation } = fused;
    const expected = references.get(fused) ?? (await runOn("cpu", inputs, operation));
    references.set(fused, expected);
    const actual = await runNative(inputs, operation);
    expect(hasFusedKernel(kernel)).toBe(true);
    expectClose(actual, expected, tolerance);
  });

  it.each(emptyCases)("$kernel, $name", async ({ inputs, operation }) => {
    const [, ...gradients] = await runNative(inputs, withGradients(operation));
    const variable = inputs.filter(({ dtype }) => dtype === "float32");
    expect(gradients).toEqual(variable.map((raw) => ({ ...raw, values: raw.values.map(() => 0) })));
  });

  it("directional derivatives are the finite differences", async () => {
    for (const { kernel, name, inputs, operation } of differentiableCases) {
      // Differences reach across the kink of ReLU, and an entropy carries no gradient.
      if (/relu|entropy/.test(name)) continue;
      const directions = inputs.map(({ values, dtype }, i) =>
        randomNumbers(21 + i, [dtype === "float32" ? values.length : 0], 0.5),
      );
      const [value, ...gradients] = await runNative(inputs, withGradients(operation));
      const step = 1e-3;
      const moved = (sign: number) =>
        inputs.map((raw, i) =>
          raw.dtype === "float32"
            ? {
                ...raw,
                values: Float32Array.from(raw.values, (x, j) => x + sign * step * directions[i]![j]!),
              }
            : raw,
        );
      const outputAt = async (sign: number) => (await runNative(moved(sign), operation))[0]!.values;
      const [ahead, behind] = [await outputAt(1), await outputAt(-1)];
      const weights = weightsOf(value!.shape).values as Float32Array;
      const terms = Array.from(weights, (w, i) => (w * (ahead[i]! - behind[i]!)) / (2 * step));
      const numeric = terms.reduce((sum, term) => sum + term, 0);
      const used = directions.filter((_, i) => inputs[i]!.dtype === "float32");
      const analytic = gradients
        .flatMap(({ values }, i) => Array.from(values, (g, j) => g * used[i]![j]!))
        .reduce((sum, term) => sum + term, 0);
      const size = Math.sqrt(terms.reduce((sum, term) => sum + term ** 2, 1e-6));
      const error = Math.abs(numeric - analytic) / size;
      if (!(error < 1e-2))
        throw new Error(`${kernel} ${name}: ${numeric} by differences, ${analytic} by the kernel`);
    }
  });

  it("NaN and infinities in a row reach what the composed form lets them reach", async () => {
    const rowwise = differentiableCases.filter(({ kernel }) => /Linear|Norm|Swiglu|LogProbs/.test(kernel));
    for (const { inputs, operation } of rowwise) {
      for (const special of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const values = inputs[0]!.values.slice();
        values[values.length - 1] = special;
        const given = [{ ...inputs[0]!, values }, ...inputs.slice(1)];
        const expected = await runOn("cpu", given, operation);
        expectClose(await runNative(given, operation), expected, tolerance);
      }
    }
  });

  it("NaN in a token reaches the tokens that see it, and no other", async () => {
    const [time, heads, width] = [70, 2, 6];
    const qkv = floats(1, [2, time, 3 * width]);
    const runs = Int32Array.from({ length: 2 * time }, (_, i) => (i % time < 40 ? 1 : 2));
    const run = ([x, segments]: tf.Tensor[]) =>
      attention(x as tf.Tensor3D, { heads, kvHeads: heads, causal: true, segments: segments as tf.Tensor2D });
    const values = qkv.values.slice();
    values[15 * 3 * width + width] = Number.NaN; // a key of the first head at time 15 of the first row
    const segments: Raw = { values: runs, shape: [2, time], dtype: "int32" };
    const [clean] = await runNative([qkv, segments], run);
    const [output] = await runNative([{ ...qkv, values }, segments], run);
    output!.values.forEach((y, i) => {
      const [row, head] = [Math.floor(i / width), Math.floor((i % width) / (width / heads))];
      if (row >= 15 && row < 40 && head === 0) expect(y).toBeNaN();
      else expect(y).toBe(clean!.values[i]);
    });
  });
});

it("gives the same bits with more threads than processors", async () => {
  const { addon, threads } = loadAddon();
  const firstOfEach = new Map(fusedCases.toReversed().map((fused) => [fused.kernel, fused]));
  try {
    for (const { inputs, operation } of firstOfEach.values()) {
      addon.configure(-1, 1, true);
      const expected = await runOn("native", inputs, operation);
      for (const count of [3, 7]) {
        addon.configure(-1, count, true);
        const actual = await runOn("native", inputs, operation);
        for (const [i, { values }] of actual.entries()) expect(values).toEqual(expected[i]!.values);
      }
    }
  } finally {
    addon.configure(-1, threads, false);
  }
});
