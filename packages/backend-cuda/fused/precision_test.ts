/**
 * The fused kernels under the bf16 policy, whose products round their operands and whose activations lie in bf16, against
 * float32 on the cpu backend.
 */
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { adamwStep } from "../../tensor/adamw_step.ts";
import { attention } from "../../tensor/attention.ts";
import { useBackend } from "../../tensor/backend.ts";
import { layerNorm } from "../../tensor/layer_norm.ts";
import { linear } from "../../tensor/linear.ts";
import { linearTokenLogProbs } from "../../tensor/linear_token_log_probs.ts";
import { rmsNorm } from "../../tensor/rms_norm.ts";
import { rope } from "../../tensor/rope.ts";
import { swiglu } from "../../tensor/swiglu.ts";
import { block, blockInputs, blockSizes } from "../../tensor/testing/block_cases.ts";
import { fusedCases } from "../../tensor/testing/fused_cases.ts";
import {
  expectClose,
  floats,
  ints,
  type Raw,
  relativeError,
  roundedTolerance,
  runOn,
  withGradients,
} from "../../tensor/testing/run_on.ts";
import { valueAndGrads } from "../../tensor/value_and_grads.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";

/** Half the distance between neighbours in bf16, relative, for inputs that are rounded before either backend. */
const tolerance = 2 ** -7;
/** Kernels that round, but for decoding, which has a test of its own. */
const rounding = /Linear|Attention|Norm$|Rope|Swiglu|DecoderBlock/;

/** Numbers that bf16 holds, so that the products' operands are exact and what is left is the rounding in between. */
const rounded = ({ values, ...rest }: Raw): Raw => {
  const bits = new Uint32Array((values as Float32Array).slice().buffer);
  return { values: new Float32Array(bits.map((word) => (word + 0x8000) & 0xffff0000).buffer), ...rest };
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

  it.each(fusedCases.filter(({ kernel }) => rounding.test(kernel)))("$kernel $name", async (fused) => {
    const expected = await runOn("cpu", fused.inputs, fused.operation);
    const actual = await runOn("cuda", fused.inputs, fused.operation);
    expect(relativeError(actual, expected)).toBeLessThan(roundedTolerance);
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

  it("bias, residual and GELU are part of the product, at sizes that cuBLASLt has kernels for", async () => {
    const launched = vi.spyOn(backend.device, "launch");
    const maps: ReadonlyArray<(inputs: tf.Tensor[]) => tf.Tensor> = [
      ([x, weight, bias]) => linear(x!, weight!, { bias }),
      ([x, weight]) => linear(x!, weight!, { residual: x! }),
      ([x, weight, bias]) => linear(x!, weight!, { bias, residual: x! }),
      ([x, weight, bias]) => linear(x!, weight!, { bias, activation: "geluTanh" }),
    ];
    for (const map of maps) {
      const inputs = [x, square, row];
      const expected = await runOn("cpu", inputs, map);
      launched.mockClear();
      expectClose(await runOn("cuda", inputs, map), expected, tolerance);
      expect(launched.mock.calls.filter(([module]) => module === "fused_linear")).toEqual([]);
    }
    launched.mockClear();
    const odd = [x, rounded(floats(2, [24, 23], 0.3)), rounded(floats(3, [23]))];
    const expected = await runOn("cpu", odd, maps[3]!);
    expectClose(await runOn("cuda", odd, maps[3]!), expected, tolerance);
    expect(launched.mock.calls.filter(([module]) => module === "fused_linear")).toHaveLength(1);
    launched.mockRestore();
  });

  it("activations lie in bf16 alone; the residual stream, logits and scores in float32", async () => {
    await useBackend("cuda");
    tf.tidy(() => {
      const [x, square, row] = [tf.ones([75, 24]), tf.ones([24, 24]), tf.ones([24])] as const;
      const lies = (tensor: tf.Tensor) => (backend.liesRounded(tensor) ? "bf16" : "float32");
      const qkv = linear(x, square);
      const [oneHead, positions] = [{ heads: 1, kvHeads: 1 }, tf.zeros<tf.Rank.R2>([3, 25], "int32")];
      const heads: tf.Tensor3D = tf.reshape(qkv, [3, 25, 24]);
      expect(
        [
          ...[qkv, linear(x, square, { bias: row, activation: "gelu" }), swiglu(qkv)],
          ...[layerNorm(x, row, row), rmsNorm(x, row)],
          rope(heads, { ...oneHead, positions, theta: 1e4 }),
          attention(heads, { ...oneHead, causal: true }),
        ].map(lies),
      ).toEqual(Array(7).fill("bf16"));
      const column = tf.ones([24, 1]);
      expect(
        [
          linear(x, square, { residual: x }),
          linear(x, square, { transposeWeight: true }),
          linear(x, column),
        ].map(lies),
      ).toEqual(Array(3).fill("float32"));
    });
  });

  it("a training step converts what products read of the weights and nothing else, and the next one nothing", async () => {
    const launched = vi.spyOn(backend.device, "launch");
    const conversions = () => launched.mock.calls.filter(([module]) => module === "convert").length;
    const size = blockSizes[0]!;
    const [x, ...rest] = blockInputs(size).map(({ values, shape, dtype }) => tf.tensor(values, shape, dtype));
    const weights = Object.fromEntries(rest.slice(0, -2).map((weight, i) => [`${i}`, tf.variable(weight)]));
    const zeros = () =>
      Object.fromEntries(
        Object.entries(weights).map(([name, weight]) => [
          name,
          tf.variable(tf.zerosLike(weight as tf.Tensor)),
        ]),
      );
    const [firstMoments, secondMoments] = [zeros(), zeros()];
    const step = (number: number) => {
      const loss = () => {
        const inner = block(size, [x!, ...Object.values(weights), ...rest.slice(-2)]);
        return tf.sum(block(size, [inner, ...Object.values(weights), ...rest.slice(-2)]));
      };
      const { value, grads } = valueAndGrads(loss, weights);
      const settings = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: () => 0 };
      adamwStep({ params: weights, grads, firstMoments, secondMoments, step: number, ...settings });
      tf.dispose([value, grads] as tf.TensorContainer);
    };
    step(1);
    const matrices = Object.values(weights).filter(({ rank }) => rank === 2);
    // And the bias that is added within a product with a bf16 result: that of q|k|v, but not that of so odd a width as 50.
    expect(conversions()).toBe(matrices.length + 1);
    step(2);
    expect(conversions()).toBe(matrices.length + 1);
    // What the update left rounded is what rounding would give.
    for (const weight of matrices) {
      const one = tf.eye(weight.shape[0]);
      const [kept, fresh] = [tf.matMul(one, weight as tf.Tensor), tf.matMul(one, tf.add(weight, 0))];
      expect(await kept.data()).toEqual(await fresh.data());
      tf.dispose([one, kept, fresh]);
    }
    launched.mockRestore();
    tf.dispose([x!, ...rest, weights, firstMoments, secondMoments] as tf.TensorContainer);
  });
});

/** Products of tf32 keep three more bits than those of bf16, and the most of what they read is float32. */
const tf32Tolerance = 0.003;

describe.skipIf(!hasDevice())("in tf32", () => {
  it.each(fusedCases.filter(({ kernel }) => /Attention|DecoderBlock/.test(kernel)))(
    "$kernel $name",
    async (fused) => {
      await useBackend("cuda");
      const backend = tf.backend() as CudaBackend;
      const expected = await runOn("cpu", fused.inputs, fused.operation);
      backend.precision = "tf32";
      const actual = await runOn("cuda", fused.inputs, fused.operation);
      backend.precision = "fp32";
      expect(relativeError(actual, expected)).toBeLessThan(tf32Tolerance);
    },
  );
});
