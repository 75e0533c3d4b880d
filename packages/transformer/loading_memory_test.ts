import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { saveCheckpoint } from "./checkpoint.ts";
import type { TransformerConfig } from "./config.ts";
import { disposeModel } from "./model.ts";
import { parameterCount, parameterShapes } from "./parameters.ts";
import { cpuAndNative } from "./testing/golden_model.ts";

const config: TransformerConfig = {
  architecture: "llama",
  vocabSize: 8000,
  contextLength: 64,
  layers: 12,
  width: 768,
  heads: 12,
  kvHeads: 4,
  headDim: 64,
  innerWidth: 1536,
  epsilon: 1e-6,
  ropeTheta: 1e4,
  tied: false,
};
const backends = await cpuAndNative();

let folder = "";
beforeAll(async () => {
  await useBackend("cpu");
  folder = await mkdtemp(join(tmpdir(), "memory-"));
  const params = Object.fromEntries(
    Object.entries(parameterShapes(config)).map(([name, shape]) => [
      name,
      tf.tidy(() => tf.variable(tf.zeros([...shape]))),
    ]),
  );
  const files = Layer.merge(NodeFileSystem.layer, NodePath.layer);
  await Effect.runPromise(Effect.provide(saveCheckpoint(folder, { config, params }), files));
  disposeModel({ params });
});
afterAll(() => rm(folder, { recursive: true }));

it.each(backends)("on %s the process grows by at most 1.2 times the model", async (backend) => {
  const program = fileURLToPath(new URL("testing/measure_loading.ts", import.meta.url));
  const args = ["--expose-gc", "--import", "tsx", program, folder, backend];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const size = 4 * parameterCount(config);
  expect(Number(stdout)).toBeGreaterThan(0.9 * size);
  expect(Number(stdout)).toBeLessThan(1.2 * size);
});
