/** The fused kernels under the bf16 policy, whose products round their operands, against float32 on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { expectClose, floats, type Raw, runOn, withGradients } from "../../backend-webgpu/testing/numbers.ts";
import { attention } from "../../tensor/attention.ts";
import { useBackend } from "../../tensor/backend.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";

/** Half the distance between neighbours in bf16, relative, for inputs that are rounded before either backend. */
const tolerance = 2 ** -7;

/** Numbers that bf16 holds, so that the products' operands are exact and what is left is the rounding in between. */
const rounded = ({ values, shape }: Raw): Raw => {
  const bits = new Uint32Array((values as Float32Array).slice().buffer);
  return { values: new Float32Array(bits.map((word) => (word + 0x8000) & 0xffff0000).buffer), shape };
};

const segments: Raw = {
  values: Int32Array.from({ length: 2 * 81 }, (_, i) =>
    i % 81 < 5 ? 0 : i % 81 < 40 ? 1 : i % 81 < 70 ? 2 : 0,
  ),
  shape: [2, 81],
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
});
