import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { firstCommit, type LocalHub, startLocalHub } from "@rlhf/hub/testing/local_hub";
import { useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import * as ConfigProvider from "effect/ConfigProvider";
import * as Effect from "effect/Effect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { loadAdapter, loadScalarAdapter } from "./adapter_file.ts";
import { loadCheckpoint, loadScalarModel } from "./checkpoint.ts";
import { loadGenerationSettings } from "./generation_config.ts";
import { disposeModel, type Model } from "./model.ts";
import { disposeScalarModel } from "./scalar_head.ts";
import { goldenPath } from "./testing/golden.ts";

let home = "";
let hub: LocalHub;
let tensors = 0;

const goldenFiles = async (name: string) =>
  Object.fromEntries(
    await Promise.all(
      (await readdir(goldenPath(name))).map(
        async (file) => [file, await readFile(join(goldenPath(name), file))] as const,
      ),
    ),
  );

beforeEach(async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
  home = await mkdtemp(join(tmpdir(), "hub-"));
  const gpt2 = await goldenFiles("gpt2");
  hub = await startLocalHub({
    "someone/gpt2": {
      files: {
        ...gpt2,
        "generation_config.json": '{"do_sample": true, "temperature": 0.5}',
        "pytorch_model.bin": "not read",
        "tf_model.h5": "not read",
      },
    },
    "someone/qwen2": { files: await goldenFiles("qwen2") },
    "someone/reward": { files: await goldenFiles("gpt2_scalar") },
    "someone/lora": { files: await goldenFiles("gpt2_lora") },
    "someone/pickled": { files: { "config.json": gpt2["config.json"]!, "pytorch_model.bin": "code" } },
  });
});
afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true });
  expect(tf.memory().numTensors).toBe(tensors);
});

const run = <A, E>(effect: Effect.Effect<A, E, Effect.Services<ReturnType<typeof loadCheckpoint>>>) =>
  Effect.runPromise(
    effect.pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ HF_HOME: home, HF_ENDPOINT: hub.url }),
      ),
      Effect.provide(NodeServices.layer),
    ),
  );
const snapshot = (name: string) =>
  join(home, "hub", `models--${name.replace("/", "--")}`, "snapshots", firstCommit);

const expectSame = async (found: Model, expected: Model) => {
  expect(Object.keys(found.params)).toEqual(Object.keys(expected.params));
  for (const [name, param] of Object.entries(found.params))
    expect(await param.data()).toEqual(await expected.params[name]!.data());
  for (const model of [found, expected]) disposeModel(model);
};

it("loads a model by its name, and fetches what it needs alone", async () => {
  await expectSame(await run(loadCheckpoint("someone/gpt2")), await run(loadCheckpoint(goldenPath("gpt2"))));
  expect((await readdir(snapshot("someone/gpt2"))).sort()).toEqual(["config.json", "model.safetensors"]);
  expect(await run(loadGenerationSettings("someone/gpt2"))).toEqual({ temperature: 0.5 });
  expect(await run(loadGenerationSettings("someone/qwen2"))).toEqual({});
});

it("loads a model whose weights lie in several files, over a broken connection", async () => {
  hub.faults.push({ breakAfter: 100 }, { breakAfter: 100 });
  const name = `someone/qwen2@${firstCommit}`;
  await expectSame(await run(loadCheckpoint(name)), await run(loadCheckpoint(goldenPath("qwen2"))));
  expect((await readdir(snapshot("someone/qwen2"))).filter((file) => file.endsWith(".safetensors"))).toEqual([
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
  ]);
});

it("says which file of the index the Hub has not", async () => {
  const { "model-00002-of-00002.safetensors": _, ...rest } = hub.repositories["someone/qwen2"]!.files;
  hub.repositories["someone/qwen2"] = { files: rest };
  const error = await run(Effect.flip(loadCheckpoint("someone/qwen2")));
  expect(error.message).toContain("names the file model-00002-of-00002.safetensors, which is not there");
});

it("refuses pickles without fetching them", async () => {
  const error = await run(Effect.flip(loadCheckpoint("someone/pickled")));
  expect(error.message).toContain("pytorch_model.bin: weights in a pickle are refused");
  expect(error.message).toContain("Save them as model.safetensors");
  expect(hub.requests.some((path) => path.includes("pytorch_model.bin"))).toBe(false);
});

it("finds what the configuration forbids before it fetches the weights", async () => {
  const error = await run(Effect.flip(loadCheckpoint("someone/gpt2", { vocabSize: 1_000_000 })));
  expect(error._tag).toBe("VocabularyMismatch");
  expect(error.message).toContain("someone/gpt2");
  expect(await readdir(snapshot("someone/gpt2"))).toEqual(["config.json"]);
});

it("loads reward models and adapters by their names", async () => {
  const scalar = await run(loadScalarModel("someone/reward"));
  expect(scalar.config.architecture).toBe("gpt2");
  disposeScalarModel(scalar);
  const base = await run(loadCheckpoint("someone/gpt2"));
  const adapted = await run(loadAdapter("someone/lora", base));
  const found = await run(Effect.flip(loadScalarAdapter("someone/gpt2", base)));
  expect(found.message).toContain("No checkpoint at someone/gpt2");
  expect(adapted.adapter?.lora.rank).toBeGreaterThan(0);
  disposeModel(adapted);
  disposeModel(base);
});
