/** A short run of every training stage on the active backend, for comparison between backends and in a browser. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { Progress } from "../../core/progress.ts";
import { integers, key } from "../../core/random.ts";
import { RunFolder } from "../../core/run_folder.ts";
import { DpoConfig } from "../../dpo/config.ts";
import { trainDpo } from "../../dpo/train.ts";
import { PpoConfig } from "../../ppo/config.ts";
import { PretrainingBatches, Reference, Scorer } from "../../ppo/services.ts";
import { disposeState, initState } from "../../ppo/state.ts";
import { train as trainPpo } from "../../ppo/train.ts";
import { PretrainConfig } from "../../pretrain/config.ts";
import { pretrain } from "../../pretrain/train.ts";
import { RewardConfig } from "../../reward/config.ts";
import { trainReward } from "../../reward/train.ts";
import { SftConfig } from "../../sft/config.ts";
import { finetune } from "../../sft/train.ts";
import { initModel } from "../../transformer/init.ts";
import { cloneModel, disposeModel, type Model } from "../../transformer/model.ts";
import { disposeScalarModel, initScalarModel } from "../../transformer/scalar_head.ts";

type Metrics = Readonly<Record<string, number>>;

/** The metrics of each step. */
const metricsOf = async <A, E>(
  stage: Effect.Effect<A, E, Progress | RunFolder>,
): Promise<{ readonly result: A; readonly steps: ReadonlyArray<Metrics> }> => {
  const steps: Metrics[] = [];
  const result = await Effect.runPromise(
    stage.pipe(
      Effect.provideService(Progress, {
        publish: (event) =>
          Effect.sync(() => {
            if (event._tag === "Step") steps.push(event.metrics);
          }),
        events: Stream.empty,
      }),
      Effect.provide(RunFolder.layerMemory),
    ),
  );
  return { result, steps };
};

const [rows, time, vocab, eos] = [4, 16, 24, 1];
const tokens = (seed: number, count: number) =>
  Array.from(integers(key(seed), count, vocab - 2), (id) => id + 2);

const rankings = Array.from({ length: rows }, (_, i) => ({
  prompt: tokens(i, 5),
  responses: [6, 4, 9].map((length, j) => [...tokens(3 * i + j, length), eos]),
  ranks: [1, 3, 2],
}));
const demonstrations = rankings.map(({ prompt, responses }) => ({ prompt, response: responses[0]! }));

const stages: Readonly<Record<string, (model: Model) => Promise<ReadonlyArray<Metrics>>>> = {
  pretrain: async (model) => {
    const text = Int32Array.from(tokens(2, rows * time * 2));
    const config = PretrainConfig.make({ steps: 2, batchSize: rows, microBatchSize: rows });
    const run = pretrain({ model, tokens: text, validation: text, config, key: key(3) });
    const { result, steps } = await metricsOf(run);
    disposeModel(result.model);
    return steps;
  },
  sft: async (model) => {
    const config = SftConfig.make({ epochs: 2, batchSize: rows, microBatchSize: 2, dropout: 0.1 });
    const run = finetune({ model, demonstrations, validation: demonstrations, config, key: key(4) });
    const { result, steps } = await metricsOf(run);
    disposeModel(result.model);
    return steps;
  },
  reward: async (policy) => {
    const config = RewardConfig.make({ epochs: 2, batchSize: rows, microBatchSize: rows });
    const run = trainReward({ policy, rankings, validation: rankings, demonstrations, config, key: key(5) });
    const { result, steps } = await metricsOf(run);
    disposeScalarModel(result.model);
    return steps;
  },
  ppo: async (policy) => {
    const rewardModel = initScalarModel(cloneModel(policy), key(6));
    const config = PpoConfig.make({
      iterations: 2,
      batchSize: rows,
      minibatchSize: rows,
      microBatchSize: rows,
      maxNewTokens: 6,
      warmupIterations: 0,
      ptxCoefficient: 1,
      ptxExamplesPerEpisode: 1,
    });
    const texts = PretrainingBatches.fromRows(
      rankings.map((_, i) => ({ tokens: tokens(i, time) })),
      { padId: 0 },
    );
    const run = trainPpo({
      state: initState({ policy, rewardModel, config }),
      prompts: rankings.map(({ prompt }, i) => ({ id: `${i}`, tokens: prompt })),
      config,
      specials: { eos },
      key: key(7),
      decode: (ids) => ids.join(" "),
    }).pipe(
      Effect.provideService(Reference, policy),
      Effect.provideService(Scorer, (episodes) =>
        Effect.succeed(Float32Array.from(episodes, (_, i) => (i % 3) - 1)),
      ),
      Effect.provideService(PretrainingBatches, texts),
    );
    const { result, steps } = await metricsOf(run);
    disposeState(result);
    disposeScalarModel(rewardModel);
    return steps;
  },
  dpo: async (policy) => {
    const config = DpoConfig.make({ epochs: 2, batchSize: rows, microBatchSize: rows });
    const run = trainDpo({ policy, rankings, validation: rankings, config, key: key(8) });
    const { result, steps } = await metricsOf(run);
    disposeModel(result.model);
    return steps;
  },
};

export const stageNames = Object.keys(stages);

/** What a stage reports of each of its steps, but for clocks. */
export const stageMetrics = async (name: string): Promise<ReadonlyArray<Metrics>> => {
  const shape = { vocabSize: vocab, contextLength: time, layers: 2, width: 16, heads: 2 };
  const model = initModel({ architecture: "gpt2", ...shape }, key(1));
  const steps = await stages[name]!(model);
  disposeModel(model);
  return steps.map((metrics) =>
    Object.fromEntries(Object.entries(metrics).filter(([metric]) => !/second/i.test(metric))),
  );
};
