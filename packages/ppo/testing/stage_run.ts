/**
 * One stage of a pipeline at smoke size, in a process that a test can kill: `stage_run.ts FOLDER STAGE`. It goes on from
 * what it finds in the run folder, prints a line a step, and at the end a hash of everything that came out.
 */
import { createHash } from "node:crypto";
import * as NodeRuntime from "@effect/platform-node/NodeRuntime";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { layerCheckpoints } from "@rlhf/core/checkpoints";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { fold, key } from "@rlhf/core/random";
import { rememberedParts } from "@rlhf/core/remembered_parts";
import { RunFolder } from "@rlhf/core/run_folder";
import { PretrainConfig, pretrain } from "@rlhf/pretrain";
import { RewardConfig, scoreEpisodes, trainReward } from "@rlhf/reward";
import { finetune, SftConfig } from "@rlhf/sft";
import { useBackend } from "@rlhf/tensor/backend";
import { generate, initModel, initScalarModel } from "@rlhf/transformer";
import type * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { PpoConfig } from "../config.ts";
import { PretrainingBatches, Reference, Scorer } from "../services.ts";
import { initState } from "../state.ts";
import { train } from "../train.ts";

const root = key(5);
const eos = 1;
const shape = {
  architecture: "gpt2",
  vocabSize: 16,
  contextLength: 16,
  layers: 1,
  width: 16,
  heads: 2,
} as const;
const text = (name: string, length: number) =>
  Int32Array.from({ length }, (_, i) => 2 + ((i * i + name.length * i) % 14));
const rows = Array.from({ length: 24 }, (_, i) => ({
  prompt: [2 + (i % 5), 3, 4 + (i % 7)],
  response: [5 + (i % 9), 6, eos],
}));
const rankings = rows.map(({ prompt, response }, i) => ({
  prompt,
  responses: [response, [7, 8, eos], [9 + (i % 3), eos]],
  ranks: [1, 2 + (i % 2), 2],
}));
const prompts = rows.map(({ prompt }, i) => ({ id: String(i), tokens: prompt }));

type Outcome = Readonly<Record<string, ReadonlyArray<tf.Tensor> | string>>;
const weights = ({ params }: { readonly params: Readonly<Record<string, tf.Variable>> }) =>
  Object.values(params);

/** Each trains for some dozens of steps, so that it can be killed that often; the slowest for fewer where once is enough. */
const isKilledOften = process.env.RLHF_FAULTS !== undefined;
const stages = {
  pretrain: Effect.gen(function* () {
    const { model } = yield* pretrain({
      model: initModel(shape, fold(root, "model")),
      tokens: text("training", 2000),
      validation: text("validation", 200),
      config: PretrainConfig.make({ steps: 90, batchSize: 4, warmupSteps: 5, evaluateEvery: 7 }),
      key: fold(root, "pretrain"),
    });
    return { model: weights(model) } satisfies Outcome;
  }),
  sft: Effect.gen(function* () {
    const { model, epochs } = yield* finetune({
      model: initModel(shape, fold(root, "model")),
      demonstrations: rows.slice(4),
      validation: rows.slice(0, 4),
      config: SftConfig.make({ epochs: 18, batchSize: 4, learningRate: 1e-2 }),
      key: fold(root, "sft"),
    });
    return { model: weights(model), epochs: JSON.stringify(epochs) } satisfies Outcome;
  }),
  reward: Effect.gen(function* () {
    const { model, accuracy } = yield* trainReward({
      policy: initModel(shape, fold(root, "model")),
      rankings: rankings.slice(4),
      validation: rankings.slice(0, 4),
      demonstrations: rows,
      config: RewardConfig.make({ epochs: 18, batchSize: 4, learningRate: 1e-2 }),
      key: fold(root, "reward"),
    });
    return { model: weights(model), accuracy: JSON.stringify(accuracy) } satisfies Outcome;
  }),
  comparisons: Effect.gen(function* () {
    const model = initModel(shape, fold(root, "model"));
    const folder = yield* RunFolder;
    const { publish } = yield* Progress;
    const asked = Array.from({ length: 60 }, (_, i) => prompts[i % prompts.length]!);
    const collected = yield* rememberedParts({
      stage: "comparisons",
      items: asked,
      size: 1,
      run: Effect.fnUntraced(function* (part, first) {
        const repeated = part.flatMap(({ tokens }) => [tokens, tokens, tokens]);
        const answers = yield* Effect.promise(() =>
          generate(model, {
            prompts: repeated,
            maxNewTokens: 8,
            eos,
            temperature: 1,
            key: fold(root, first),
          }),
        );
        const responses = answers.map(({ tokens }) => tokens);
        const ranks = responses.map(
          ({ length }) => 1 + responses.filter((other) => other.length > length).length,
        );
        const ranking = { prompt: part[0]!.tokens, responses, ranks };
        yield* folder.appendSamples([ranking]);
        yield* publish({
          _tag: "Step",
          stage: "comparisons",
          step: first + 1,
          total: asked.length,
          metrics: {},
          tokens: 0,
        });
        return [ranking];
      }),
    });
    return { comparisons: JSON.stringify(collected) } satisfies Outcome;
  }),
  ppo: Effect.gen(function* () {
    const policy = initModel(shape, fold(root, "model"));
    const rewardModel = initScalarModel(initModel(shape, fold(root, "other")), fold(root, "head"));
    const config = PpoConfig.make({
      iterations: isKilledOften ? 40 : 16,
      batchSize: 4,
      minibatchSize: 2,
      maxNewTokens: 4,
      policyLearningRate: 1e-3,
      criticLearningRate: 1e-3,
      ptxCoefficient: 1,
      ptxExamplesPerEpisode: 1,
      sampleEvery: 3,
      klControl: { _tag: "Adaptive", coefficient: 0.1, target: 0.1, horizon: 20 },
    });
    const state = yield* train({
      state: initState({ policy, rewardModel, config }),
      prompts,
      config,
      specials: { eos },
      key: root,
      decode: (tokens) => tokens.join(" "),
    }).pipe(
      Effect.provideService(Reference, policy),
      Effect.provideService(Scorer, scoreEpisodes(rewardModel)),
      Effect.provideService(
        PretrainingBatches,
        PretrainingBatches.fromRows([{ tokens: [...text("ptx", 12)] }], { padId: 0 }),
      ),
    );
    return {
      policy: weights(state.policy),
      averaged: weights(state.averagedPolicy),
      critic: weights(state.critic),
      controller: JSON.stringify(state.klController),
    } satisfies Outcome;
  }),
};

const print = (event: ProgressEvent) =>
  Effect.sync(() => {
    if (event._tag === "Step") process.stdout.write(`step ${event.step}\n`);
    if (event._tag === "Note") process.stdout.write(`note ${event.message}\n`);
  });

const [folder, stage] = process.argv.slice(2) as [string, keyof typeof stages];
Effect.gen(function* () {
  yield* Effect.promise(() => useBackend("cpu"));
  const outcome: Outcome = yield* stages[stage];
  const hash = createHash("sha256");
  for (const part of Object.values(outcome)) {
    if (typeof part === "string") hash.update(part);
    else for (const tensor of part) hash.update(yield* Effect.promise(() => tensor.data()));
  }
  process.stdout.write(`hash ${hash.digest("hex")}\n`);
}).pipe(
  Effect.provide(layerCheckpoints({ everySeconds: 0.03 })),
  Effect.provide(
    Layer.merge(RunFolder.layer(folder), Layer.succeed(Progress, { publish: print, events: Stream.empty })),
  ),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain,
);
