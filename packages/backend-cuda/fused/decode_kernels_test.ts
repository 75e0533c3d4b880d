/** Decoding in bf16, and steps that are recorded once; the plain ones are among the cases of fused_kernels_test.ts. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../../tensor/backend.ts";
import { createKvCache, decodeStep } from "../../tensor/decode_step.ts";
import type { DecoderBlockWeights } from "../../tensor/decoder.ts";
import { decoderWeights, gpt, layers, stepOf } from "../../tensor/testing/decoders.ts";
import { decodingCases } from "../../tensor/testing/fused_cases.ts";
import { expectClose, runOn } from "../../tensor/testing/run_on.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";
import { CudaKvCache } from "./kv_cache.ts";

describe.skipIf(!hasDevice())("decoding", () => {
  it.each(decodingCases)("$name in bf16, the cache too", async ({ operation }) => {
    await useBackend("cuda");
    const backend = tf.backend() as CudaBackend;
    backend.precision = "bf16";
    const actual = await runOn("cuda", [], operation);
    backend.precision = "fp32";
    // Half the distance between neighbours in bf16, 2⁻⁹, times what two layers make of it.
    expectClose(actual, await runOn("cpu", [], operation), 2 ** -6);
  });

  it("replays recorded steps, for batches that shrink and weights that change", async () => {
    let recorded = 0;
    const operation = () => {
      const made = decoderWeights(gpt, 30);
      const [first, second] = made.blocks as [DecoderBlockWeights, DecoderBlockWeights];
      const weight = tf.variable(first.up.weight);
      const weights = { ...made, blocks: [{ ...first, up: { ...first.up, weight } }, second] };
      const cache = createKvCache(gpt, { layers, slots: 3, length: 30 });
      const slots = [[0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 1, 2], [2, 0, 1], [2, 1], [2, 1], [1]];
      const logits = slots.flatMap((order, position) => {
        if (position === 3) weight.assign(tf.mul(weight, 1.5));
        const step = stepOf(
          position,
          order.map((slot) => [slot, position, 1] as const),
        );
        return [decodeStep({ spec: gpt, weights, cache, ...step })];
      });
      if (cache instanceof CudaKvCache)
        recorded = [...cache.steps.values()].filter((step) => step !== "seen").length;
      cache.dispose();
      weight.dispose();
      return logits;
    };
    const actual = await runOn("cuda", [], operation);
    expect(recorded).toBe(2);
    expectClose(actual, await runOn("cpu", [], operation), 1e-5);
  });
});
