/** Decoding in bf16, and steps that are recorded once; the plain ones are among the cases of fused_kernels_test.ts. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../../tensor/backend.ts";
import { decodingCases } from "../../tensor/testing/fused_cases.ts";
import { expectClose, runOn } from "../../tensor/testing/run_on.ts";
import type { CudaBackend } from "../backend.ts";
import { hasDevice } from "../testing/emulator.ts";
import { recordedDecoding } from "../testing/recorded_decoding.ts";

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
      const result = recordedDecoding();
      recorded = Math.max(recorded, result.recorded);
      return result.logits;
    };
    const actual = await runOn("cuda", [], operation);
    expect(recorded).toBe(2);
    expectClose(actual, await runOn("cpu", [], operation), 1e-5);
  });
});
