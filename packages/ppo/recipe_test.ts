import type { Episode } from "@rlhf/bandit-env";
import { fold, key, Progress, RunFolder } from "@rlhf/core";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, disposeScalarModel, initModel, initScalarModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { expect, it } from "vitest";
import { PpoConfig } from "./config.ts";
import { PretrainingBatches, Reference, Scorer } from "./services.ts";
import { disposeState, initState, type PpoState } from "./state.ts";
import type { PpoReport } from "./step.ts";
import { train } from "./train.ts";

const root = key(3);
const shape = {
  architecture: "gpt2",
  vocabSize: 12,
  contextLength: 16,
  layers: 1,
  width: 16,
  heads: 2,
} as const;
const config = PpoConfig.make({
  iterations: 1,
  batchSize: 8,
  minibatchSize: 8,
  maxNewTokens: 6,
  temperature: 0.7, // a log-probability that forgot it would not agree with the others
  policyLearningRate: 0.01,
  criticLearningRate: 0.01,
  emaDecay: 0.75,
  ptxCoefficient: 0.5,
  ptxExamplesPerEpisode: 1,
});
const values = (params: Readonly<Record<string, { dataSync(): ArrayLike<number> }>>) =>
  Object.values(params).flatMap((param) => Array.from(param.dataSync()));
const length = (episodes: ReadonlyArray<Episode>) =>
  Effect.succeed(Float32Array.from(episodes, ({ response }) => response.tokens.length));

it("follows the recipe in one iteration at a temperature", async () => {
  await useBackend("cpu");
  const policy = initModel(shape, fold(root, "policy"));
  const rewardModel = initScalarModel(initModel(shape, fold(root, "reward")), fold(root, "head"));
  const state = initState({ policy, rewardModel, config });
  expect(values(state.critic.params), "the value network starts as the reward model").toEqual(
    values(rewardModel.params),
  );
  const reports: Array<PpoReport> = [];
  const trained: PpoState = await Effect.runPromise(
    train({
      state,
      prompts: Array.from({ length: 8 }, (_, i) => ({ id: `${i}`, tokens: [4 + i, 3] })),
      config,
      specials: { eos: 1 },
      key: root,
      decode: (tokens) => tokens.join(" "),
      afterIteration: (_, report) => Effect.sync(() => void reports.push(report)),
    }).pipe(
      Effect.provideService(Reference, policy),
      Effect.provideService(Scorer, length),
      Effect.provideService(
        PretrainingBatches,
        PretrainingBatches.fromRows([{ tokens: [5, 6, 7] }], { padId: 0 }),
      ),
      Effect.provide(Layer.merge(Progress.layerSilent, RunFolder.layerMemory)),
    ),
  );
  const { metrics } = reports[0]!;

  // Rollout, reference and update divide the logits alike: no KL before the first update, and a ratio of 1 in it.
  expect(metrics.kl).toBe(0);
  expect(metrics.samplingGap).toBeLessThan(1e-4);
  expect(metrics.ratio).toBeCloseTo(1, 4);
  expect(metrics.clipFraction).toBe(0);

  const [start, now] = [values(policy.params), values(trained.policy.params)];
  values(trained.averagedPolicy.params).forEach((average, i) => {
    expect(average).toBeCloseTo(0.75 * start[i]! + 0.25 * now[i]!, 5);
  });

  expect(Object.keys(metrics).sort()).toEqual(
    [
      ...["score", "scoreDeviation", "rlhfReward", "kl", "klCoefficient", "eosRate", "responseLength"],
      ...["policyLoss", "ptxLoss", "gradNorm", "approxKl", "clipFraction", "ratio", "entropy", "samplingGap"],
      ...["valueLoss", "valueGradNorm", "valueClipFraction", "explainedVariance"],
      ...["rolloutTokensPerSecond", "scoreTokensPerSecond", "updateTokensPerSecond"],
    ].sort(),
  );
  disposeState(trained);
  disposeModel(policy);
  disposeScalarModel(rewardModel);
});
