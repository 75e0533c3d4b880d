/** Every stage's steps report what they report on the cpu backend. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { useBackend } from "../tensor/backend.ts";
import { hasAdapter } from "./testing/software_adapter.ts";
import { stageMetrics, stageNames } from "./testing/stage_metrics.ts";

describe.skipIf(!(await hasAdapter()))("in Node", () => {
  it.each(stageNames)("%s", async (name) => {
    await useBackend("cpu");
    const expected = await stageMetrics(name);
    await useBackend("webgpu");
    const before = tf.memory().numTensors;
    const actual = await stageMetrics(name);
    expect(tf.memory().numTensors).toBe(before);
    expect(actual.length).toBe(expected.length);
    for (const [step, metrics] of expected.entries()) {
      for (const [metric, value] of Object.entries(metrics)) {
        expect(actual[step]![metric], `${metric} of step ${step}`).toBeCloseTo(value, 3);
      }
    }
  });
});
