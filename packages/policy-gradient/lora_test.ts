import { type Episode, Reference, Scorer } from "@rlhf/bandit-env";
import { Progress } from "@rlhf/core/progress";
import { fold, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { SftConfig } from "@rlhf/sft";
import { useBackend } from "@rlhf/tensor/backend";
import { addLora, disposeModel, initModel, type Model, withoutAdapter } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ExpertIterationConfig, expertIteration } from "./expert_iteration.ts";
import { GrpoConfig, grpo } from "./grpo.ts";
import type { Method } from "./method.ts";
import { ReinforceConfig, reinforce } from "./reinforce.ts";
import { RlooConfig, rloo } from "./rloo.ts";
import { disposeState, initState } from "./state.ts";
import { train } from "./train.ts";

const root = key(41);
const [eos, wanted] = [1, 3];
const prompts = Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5, 6] }));

let tensors = 0;
let base: Model;
let policy: Model;
beforeEach(async () => {
  await useBackend("cpu");
  tensors = tf.memory().numTensors;
  const shape = { vocabSize: 12, contextLength: 16, layers: 1, width: 32, heads: 2 };
  base = initModel({ architecture: "gpt2", ...shape }, fold(root, "base"));
  // Embeddings that stay as small as a fresh model's would leave an adapter nothing to say.
  const embedding = base.params["transformer.wte.weight"]!;
  tf.tidy(() => embedding.assign(tf.mul(embedding, 5)));
  const lora = { rank: 4, alpha: 8, dropout: 0.1, targetModules: ["c_attn", "c_fc"] };
  policy = addLora(base, lora, fold(root, "lora"));
});
afterEach(() => {
  for (const model of [policy, base]) disposeModel(model);
  expect(tf.memory().numTensors).toBe(tensors);
});

const share = (episodes: ReadonlyArray<Episode>) =>
  Effect.succeed(
    Float32Array.from(
      episodes,
      ({ response: { tokens } }) => tokens.filter((token) => token === wanted).length / tokens.length,
    ),
  );
const bytesOf = ({ params }: Pick<Model, "params">) =>
  Object.values(params).reduce((sum, { size }) => sum + 4 * size, 0);
const numbers = ({ params }: Pick<Model, "params">) =>
  Object.values(params).map((param) => Array.from(param.dataSync()));
const silently = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Progress.layerSilent), Effect.provide(RunFolder.layerMemory)));

const settings = {
  iterations: 8,
  batchSize: 32,
  microBatchSize: 16,
  maxNewTokens: 6,
  missingEosPenalty: 0,
  learningRate: 0.03,
  warmupIterations: 2,
};
const updates = { minibatchSize: 16, epochs: 2, groupSize: 4 };
const methods: Record<string, Method> = {
  reinforce: reinforce(ReinforceConfig.make({ ...settings, iterations: 12, learningRate: 0.06 })),
  rloo: rloo(RlooConfig.make({ ...settings, ...updates })),
  grpo: grpo(GrpoConfig.make({ ...settings, ...updates })),
};

it.each(Object.entries(methods))(
  "%s trains an adapter alone against the base, of which there is no second copy",
  async (_, method) => {
    const original = numbers(base);
    const before = tf.memory().numBytes;
    const scores: Array<number> = [];
    const kl: Array<number> = [];
    let bytes = 0;
    const state = await silently(
      train(method, {
        state: initState(policy, { klControl: method.klController }),
        prompts,
        specials: { eos },
        key: root,
        decode: (tokens) => tokens.join(" "),
        afterIteration: (_, { metrics }) =>
          Effect.sync(() => {
            scores.push(metrics.score!);
            kl.push(metrics.kl!);
            bytes = Math.max(bytes, tf.memory().numBytes);
          }),
      }).pipe(Effect.provideService(Reference, withoutAdapter(policy)), Effect.provideService(Scorer, share)),
    );
    expect(kl[0]).toBe(0);
    expect(kl.at(-1)).toBeGreaterThan(0);
    expect(scores.at(-1)).toBeGreaterThan(1.5 * scores[0]!);
    // The trained copy of the adapter, and its two moments.
    expect(bytes - before).toBe(3 * bytesOf(policy));
    expect(numbers(base)).toEqual(original);
    disposeState(state);
  },
);

it("expert iteration trains an adapter alone", async () => {
  const original = numbers(base);
  const config = ExpertIterationConfig.make({
    rounds: 2,
    promptsPerRound: 12,
    n: 8,
    validationPrompts: 2,
    maxNewTokens: 6,
    missingEosPenalty: 0,
    sft: SftConfig.make({ epochs: 3, batchSize: 5, learningRate: 3e-2, dropout: 0 }),
  });
  const { rounds } = await silently(
    expertIteration({ policy, prompts, score: share, config, specials: { eos }, key: root }),
  );
  expect(rounds[1]!.meanScore).toBeGreaterThan(rounds[0]!.meanScore);
  expect(numbers(base)).toEqual(original);
});
