import { scoreEach } from "@rlhf/bandit-env";
import { Progress } from "@rlhf/core/progress";
import { key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, initModel } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { ExpertIterationConfig, expertIteration } from "./expert_iteration.ts";

it("raises the score by fine-tuning on the best of its own responses", async () => {
  await useBackend("cpu");
  const before = tf.memory().numTensors;
  const policy = initModel(
    { architecture: "gpt2", vocabSize: 12, contextLength: 16, layers: 1, width: 16, heads: 2 },
    key(1),
  );
  const config = ExpertIterationConfig.make({
    rounds: 4,
    promptsPerRound: 44,
    validationPrompts: 4,
    n: 8,
    maxNewTokens: 6,
    missingEosPenalty: 0,
    sft: { epochs: 6, batchSize: 8, learningRate: 0.02, dropout: 0 },
  });
  const share = scoreEach(
    ({ response: { tokens } }) => tokens.filter((token) => token === 3).length / tokens.length,
  );
  const prompts = Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5] }));
  const { rounds } = await Effect.runPromise(
    expertIteration({ policy, prompts, score: share, config, specials: { eos: 1 }, key: key(2) }).pipe(
      Effect.provide(Progress.layerSilent),
      Effect.provide(RunFolder.layerMemory),
    ),
  );
  disposeModel(policy);
  expect(tf.memory().numTensors).toBe(before);
  expect(rounds[0]!.meanScore).toBeLessThan(0.15);
  expect(rounds[0]!.chosenScore).toBeGreaterThan(rounds[0]!.meanScore + 0.1);
  expect(rounds[3]!.meanScore).toBeGreaterThan(0.5);
});
