/** The fused kernels under the bf16 policy, whose products round their operands, against float32 on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attention } from "../../tensor/attention.ts";
import { useBackend } from "../../tensor/backend.ts";
import { layerNorm } from "../../tensor/layer_norm.ts";
import { linear } from "../../tensor/linear.ts";
import { linearTokenLogProbs } from "../../tensor/linear_token_log_probs.ts";
import { rmsNorm } from "../../tensor/rms_norm.ts";
import { swiglu } from "../../tensor/swiglu.ts";
import { expectClose, floats, ints, type Raw, runOn, withGradients } from "../../tensor/testing/run_on.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";

/** Half the distance between neighbours in bf16, relative, for inputs that are rounded before either backend. */
const tolerance = 2 ** -7;

/** Numbers that bf16 holds, so that the products' operands are exact and what is left is the rounding in between. */
const rounded = ({ values, ...rest }: Raw): Raw => {
  const bits = new Uint32Array((values as Float32Array).slice().buffer);
  return { values: new Float32Array(bits.map((word) => (word + 0x8000) & 0xffff0000).buffer), ...rest };
};

const segments: Raw = {
  values: Int32Array.from({ length: 2 * 81 }, (_, i) =>
    i % 81 < 5 ? 0 : i % 81 < 40 ? 1 : i % 81 < 70 ? 2 : 0,
  ),
  shape: [2, 81],
  dtype: "int32",
};

describe.skipIf(!hasDevice())("in bf16", () => {
  let backend: CudaBackend;
  beforeAll(async () => {
    await useBackend("cuda");
    backend = tf.backend() as CudaBackend;
    backend.precision = "bf16";
  });
  afterAll(() => {
    backend.precision = "fp32";
  });

  it.each([
    { batch: 1, time: 70, headDim: 64, causal: true, segmented: false },
    { batch: 1, time: 33, headDim: 18, causal: false, segmented: false },
    { batch: 2, time: 81, headDim: 8, causal: true, segmented: true },
    { batch: 1, time: 40, headDim: 96, causal: true, segmented: false },
  ])("attention on tensor cores: %o", async ({ batch, time, headDim, causal, segmented }) => {
    const spec = { heads: 2, kvHeads: 1, causal };
    const qkv = rounded(floats(4, [batch, time, 4 * headDim]));
    const operation = ([x, runs]: tf.Tensor[]) =>
      attention(x as tf.Tensor3D, { ...spec, segments: runs as tf.Tensor2D | undefined });
    const inputs = segmented ? [qkv, segments] : [qkv];
    const expected = await runOn("cpu", inputs, withGradients(operation));
    expectClose(await runOn("cuda", inputs, withGradients(operation)), expected, tolerance);
  });

  const x = rounded(floats(1, [75, 24]));
  const square = rounded(floats(2, [24, 24], 0.3));
  const row = rounded(floats(3, [24]));
  it.each<{ name: string; inputs: Raw[]; operation: (inputs: tf.Tensor[]) => tf.Tensor }>([
    {
      name: "linear maps behind each other",
      inputs: [x, square, row],
      operation: ([x, weight, bias]) =>
        linear(linear(x!, weight!, { bias, activation: "gelu" }), weight!, { bias, residual: x! }),
    },
    {
      name: "a gated unit between linear maps",
      inputs: [x, square, rounded(floats(4, [12, 24], 0.3))],
      operation: ([x, up, down]) => linear(swiglu(linear(x!, up!)), down!),
    },
    {
      name: "norms before linear maps",
      inputs: [x, square, row],
      operation: ([x, weight, gain]) =>
        linear(rmsNorm(linear(layerNorm(x!, gain!, gain!), weight!), gain!), weight!),
    },
    {
      name: "log-probs from hidden states",
      inputs: [x, rounded(floats(5, [301, 24], 0.3)), ints(6, [75], 301)],
      operation: ([hidden, unembedding, ids]) =>
        linearTokenLogProbs(hidden as tf.Tensor2D, unembedding!, ids as tf.Tensor1D).logProbs,
    },
  ])("$name", async ({ inputs, operation }) => {
    const expected = await runOn("cpu", inputs, withGradients(operation));
    expectClose(await runOn("cuda", inputs, withGradients(operation)), expected, tolerance);
  });

  it("what a kernel leaves rounded is its output rounded", async () => {
    const one: Raw = {
      values: Float32Array.from({ length: 24 * 24 }, (_, i) => (i % 25 === 0 ? 1 : 0)),
      shape: [24, 24],
      dtype: "float32",
    };
    const operation = ([x, square, row, one]: tf.Tensor[]) => {
      const outputs = [
        layerNorm(x!, row!, row!),
        rmsNorm(x!, row!),
        linear(x!, square!, { bias: row, activation: "silu" }),
        tf.reshape(attention(tf.reshape(x!, [1, 25, 72]), { heads: 1, kvHeads: 1, causal: true }), [25, 24]),
      ];
      // A copy by another kernel has nothing rounded with it yet.
      return outputs.map((y) => tf.sub(tf.matMul(y, one!), tf.matMul(tf.add(y, 0), one!)));
    };
    for (const { values } of await runOn("cuda", [x, square, row, one], operation))
      expect([...values].filter((value) => value !== 0)).toEqual([]);
  });
});
