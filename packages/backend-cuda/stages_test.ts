/** Every stage's steps report what they report on the cpu backend, and none of their kernels runs in JavaScript. */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { stageMetrics, stageNames } from "../backend-webgpu/testing/stage_metrics.ts";
import { useBackend } from "../tensor/backend.ts";
import type { CudaBackend } from "./backend.ts";
import { fallbackCounts, resetFallbackCounts } from "./mod.ts";
import type { Precision } from "./products.ts";
import { hasDevice } from "./testing/emulator.ts";

describe.skipIf(!hasDevice())("a stage", () => {
  beforeAll(async () => {
    await useBackend("cuda");
  });

  const compare = async (name: string, precision: Precision, digits: number) => {
    await useBackend("cpu");
    const expected = await stageMetrics(name);
    await useBackend("cuda");
    const backend = tf.backend() as CudaBackend;
    backend.precision = precision;
    resetFallbackCounts();
    const before = tf.memory() as tf.MemoryInfo & { numBytesInGPU: number };
    const actual = await stageMetrics(name);
    expect(fallbackCounts()).toEqual({});
    expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numBytesInGPU: before.numBytesInGPU });
    expect(actual.length).toBe(expected.length);
    for (const [step, metrics] of expected.entries()) {
      for (const [metric, value] of Object.entries(metrics)) {
        expect(actual[step]![metric], `${metric} of step ${step}`).toBeCloseTo(value, digits);
      }
    }
  };

  it.each(stageNames)("%s in fp32", (name) => compare(name, "fp32", 3));
  it("pretrain in tf32", () => compare("pretrain", "tf32", 2));
  it("pretrain in bf16", () => compare("pretrain", "bf16", 2));
});
