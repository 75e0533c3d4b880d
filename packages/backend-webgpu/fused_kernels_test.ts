/** The fused kernels, values and gradients, against the composed form of their operations on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { hasFusedKernel } from "../tensor/fused_kernels.ts";
import { fusedCases, tolerance } from "../tensor/testing/fused_cases.ts";
import { emptyCases } from "../tensor/testing/layer_cases.ts";
import { expectClose, floats, runOn, withGradients } from "../tensor/testing/run_on.ts";
import type { WebGpuBackend } from "./mod.ts";
import { hasAdapter } from "./testing/software_adapter.ts";

/**
 * A software adapter takes seconds to compile attention for one more size of head, and to compute what is large.
 * Decoding has a test of its own; whole blocks are composed here.
 */
const cases = fusedCases.filter(({ kernel, name, inputs }) => {
  const elements = inputs.reduce((sum, { values }) => sum + values.length, 0);
  if (kernel === "RlhfAttention") return /heads of (5|130)\b/.test(name);
  if (kernel === "RlhfDecodeStep" || kernel === "RlhfDecoderBlock") return false;
  return kernel === "RlhfGlobalNorm" || elements < 20_000;
});

describe.skipIf(!(await hasAdapter()))("as on cpu", () => {
  it.each(cases)("$kernel $name", async ({ kernel, inputs, operation }) => {
    const expected = await runOn("cpu", inputs, operation);
    const actual = await runOn("webgpu", inputs, operation);
    expect(hasFusedKernel(kernel)).toBe(true);
    expectClose(actual, expected, tolerance);
  });

  it.each(emptyCases)("$kernel, $name", async ({ inputs, operation }) => {
    const [, ...gradients] = await runOn("webgpu", inputs, withGradients(operation));
    const variable = inputs.filter(({ dtype }) => dtype === "float32");
    expect(gradients).toEqual(variable.map((raw) => ({ ...raw, values: raw.values.map(() => 0) })));
  });

  it("log-probs from hidden states, in several chunks of the vocabulary", async () => {
    const { inputs, operation } = fusedCases.find(({ name }) => name === "33x24x700, and entropy")!;
    const expected = await runOn("cpu", inputs, operation);
    await useBackend("webgpu");
    const backend = tf.backend() as WebGpuBackend;
    const usual = backend.logitsPerChunk;
    backend.logitsPerChunk = 33 * 300;
    const actual = await runOn("webgpu", inputs, operation);
    backend.logitsPerChunk = usual;
    expectClose(actual, expected, tolerance);
  });

  it("sums of more tensors than a program can bind", async () => {
    const inputs = Array.from({ length: 20 }, (_, i) => floats(i, [7, 9]));
    const operation = (tensors: tf.Tensor[]) => tf.addN(tensors);
    expectClose(await runOn("webgpu", inputs, operation), await runOn("cpu", inputs, operation), tolerance);
  });

  it("a product does not see what lay in its buffers before", async () => {
    const behind = { ...floats(1, [30 * 130]), values: new Float32Array(30 * 130).fill(-Infinity) };
    await runOn("webgpu", [behind], ([x]) => tf.mul(x!, 2));
    const inputs = [floats(1, [73, 36]), floats(2, [36, 108])];
    const operation = ([x, y]: tf.Tensor[]) => tf.matMul(x!, y!);
    expectClose(await runOn("webgpu", inputs, operation), await runOn("cpu", inputs, operation), tolerance);
  });
});
