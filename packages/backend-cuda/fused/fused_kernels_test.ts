/** The fused kernels, values and gradients, against the composed form of their operations on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../../tensor/backend.ts";
import { embed } from "../../tensor/embed.ts";
import { hasFusedKernel } from "../../tensor/fused_kernels.ts";
import { fusedCases, tolerance } from "../../tensor/testing/fused_cases.ts";
import { emptyCases } from "../../tensor/testing/layer_cases.ts";
import { expectClose, runOn, withGradients } from "../../tensor/testing/run_on.ts";
import { hasDevice } from "../testing/emulator.ts";
import { chunking } from "./log_prob_kernels.ts";

describe.skipIf(!hasDevice())("as on cpu", () => {
  it.each(fusedCases)("$kernel $name", async ({ kernel, inputs, operation }) => {
    const expected = await runOn("cpu", inputs, operation);
    const actual = await runOn("cuda", inputs, operation);
    expect(hasFusedKernel(kernel)).toBe(true);
    expectClose(actual, expected, tolerance);
  });

  it.each(emptyCases)("$kernel, $name", async ({ inputs, operation }) => {
    const [, ...gradients] = await runOn("cuda", inputs, withGradients(operation));
    const variable = inputs.filter(({ dtype }) => dtype === "float32");
    expect(gradients).toEqual(variable.map((raw) => ({ ...raw, values: raw.values.map(() => 0) })));
  });

  it("log-probs from hidden states, in several chunks of the vocabulary", async () => {
    const { inputs, operation } = fusedCases.find(({ name }) => name === "33x24x700, and entropy")!;
    const expected = await runOn("cpu", inputs, operation);
    const usual = { ...chunking };
    Object.assign(chunking, { least: 4 * 33 * 130, share: 0 });
    const actual = await runOn("cuda", inputs, operation);
    Object.assign(chunking, usual);
    expectClose(actual, expected, tolerance);
  });

  it("embeds an id that is none as NaN, and gives it no gradient", async () => {
    await useBackend("cuda");
    const weight = tf.ones([3, 2]);
    const ids = tf.tensor1d([-1, 2, 3], "int32");
    const rows = await embed(weight, ids).data();
    expect([...rows]).toEqual([Number.NaN, Number.NaN, 1, 1, Number.NaN, Number.NaN]);
    const gradient = tf.grad((x: tf.Tensor) => embed(x, ids))(weight, tf.ones([3, 2]));
    expect([...(await gradient.data())]).toEqual([0, 0, 0, 0, 1, 1]);
  });
});
