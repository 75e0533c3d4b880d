import { Progress } from "@rlhf/core/progress";
import { fold, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import {
  addLora,
  disposeModel,
  disposeScalarModel,
  initModel,
  initScalarModel,
  withoutAdapter,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { PpoConfig } from "./config.ts";
import { PretrainingBatches, Reference, Scorer } from "./services.ts";
import { disposeState, initState } from "./state.ts";
import { train } from "./train.ts";

it("trains adapters alone, with the base below them as reference", async () => {
  await useBackend("cpu");
  const before = tf.memory().numTensors;
  const shape = { vocabSize: 12, contextLength: 16, layers: 1, width: 16, heads: 2 };
  const base = initModel({ architecture: "gpt2", ...shape }, key(1));
  // Embeddings that stay as small as a fresh model's would leave an adapter nothing to say.
  const embedding = base.params["transformer.wte.weight"]!;
  tf.tidy(() => embedding.assign(tf.mul(embedding, 5)));
  const numbers = () => Object.values(base.params).map((param) => Array.from(param.dataSync()));
  const original = numbers();
  const lora = { rank: 4, alpha: 8, dropout: 0.1, targetModules: ["c_attn", "c_fc"] };
  const policy = addLora(base, lora, key(2));
  const rewardModel = initScalarModel(addLora(base, lora, key(3)), key(4));
  const config = PpoConfig.make({
    iterations: 12,
    batchSize: 32,
    minibatchSize: 16,
    maxNewTokens: 6,
    missingEosPenalty: 0,
    policyLearningRate: 0.03,
    criticLearningRate: 0.03,
    warmupIterations: 2,
    epochs: 2,
  });
  const bytesOf = (params: Readonly<Record<string, tf.Tensor>>) =>
    Object.values(params).reduce((sum, { size }) => sum + 4 * size, 0);
  const bytesBefore = tf.memory().numBytes;
  let bytes = 0;
  const scores: Array<number> = [];
  const kl: Array<number> = [];
  const state = initState({ policy, rewardModel, config });
  expect(Object.keys(state.policyOptimizer.firstMoments)).toEqual(Object.keys(policy.params));
  const trained = await Effect.runPromise(
    train({
      state,
      prompts: Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5, 6] })),
      config,
      specials: { eos: 1 },
      key: fold(key(5), "run"),
      decode: (tokens) => tokens.join(" "),
      afterIteration: (_, { metrics }) => {
        scores.push(metrics.score!);
        kl.push(metrics.kl!);
        bytes = Math.max(bytes, tf.memory().numBytes);
        return Effect.void;
      },
    }).pipe(
      Effect.provideService(Reference, withoutAdapter(policy)),
      Effect.provideService(Scorer, (episodes) =>
        Effect.succeed(
          Float32Array.from(
            episodes,
            ({ response: { tokens } }) => tokens.filter((token) => token === 3).length / tokens.length,
          ),
        ),
      ),
      Effect.provideService(
        PretrainingBatches,
        PretrainingBatches.fromRows([{ tokens: [9, 9, 9] }], { padId: 0 }),
      ),
      Effect.provide(Progress.layerSilent),
      Effect.provide(RunFolder.layerMemory),
    ),
  );
  expect(kl[0]).toBe(0);
  expect(scores.at(-1)).toBeGreaterThan(2 * scores[0]!);
  expect(numbers()).toEqual(original);
  // No second copy of the base: of the policy's adapter the trained and the averaged one, of the critic's the trained one,
  // and of both the two moments.
  expect(bytes - bytesBefore).toBe(4 * bytesOf(policy.params) + 3 * bytesOf(rewardModel.params));
  disposeState(trained);
  disposeScalarModel(rewardModel);
  for (const each of [policy, base]) disposeModel(each);
  expect(tf.memory().numTensors).toBe(before);
});
