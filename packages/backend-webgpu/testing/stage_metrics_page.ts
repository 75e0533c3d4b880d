/** What the test in Chromium loads: `stageMetrics` on the browser's own WebGPU. */
import "../mod.ts";
import * as tf from "@tensorflow/tfjs-core";
import { useBackend } from "../../tensor/backend.ts";
import { stageMetrics } from "./stage_metrics.ts";

Object.assign(globalThis, {
  stageMetricsOnWebGpu: async (name: string) => {
    const { reason } = await useBackend("webgpu");
    const before = tf.memory().numTensors;
    const metrics = await stageMetrics(name);
    return { reason, metrics, leaked: tf.memory().numTensors - before };
  },
});
