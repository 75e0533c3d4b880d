import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem";
import * as NodePath from "@effect/platform-node/NodePath";
import { type Episode, ScoreFailed } from "@rlhf/bandit-env";
import { layerCheckpoints } from "@rlhf/core/checkpoints";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { fold, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { adaptiveKl } from "@rlhf/kl";
import type { Memory } from "@rlhf/optim";
import { useBackend } from "@rlhf/tensor/backend";
import {
  disposeModel,
  disposeScalarModel,
  initModel,
  initScalarModel,
  type Model,
  type ScalarModel,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PpoConfig } from "./config.ts";
import { PretrainingBatches, Reference, Scorer } from "./services.ts";
import { disposeState, initState, type PpoState } from "./state.ts";
import type { PpoReport } from "./step.ts";
import { train } from "./train.ts";

const root = key(11);
const wanted = 3;
const specials = { eos: 1 };
const shape = {
  architecture: "gpt2",
  vocabSize: 12,
  contextLength: 16,
  layers: 1,
  width: 16,
  heads: 2,
} as const;
const prompts = Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5, 6] }));

/** Share of the response's tokens that are the wanted one. */
const share = (episodes: ReadonlyArray<Episode>) =>
  Effect.succeed(
    Float32Array.from(
      episodes,
      ({ response }) => response.tokens.filter((token) => token === wanted).length / response.tokens.length,
    ),
  );

/** Text that is all one token. */
const pretraining = PretrainingBatches.fromRows(
  [5, 6, 7].map((length) => ({ tokens: new Array(length).fill(9) })),
  { padId: 0 },
);

const base = PpoConfig.make({
  iterations: 3,
  batchSize: 16,
  minibatchSize: 8,
  maxNewTokens: 6,
  missingEosPenalty: 0,
  policyLearningRate: 0.01,
  criticLearningRate: 0.01,
  warmupIterations: 2,
});

let policy: Model;
let rewardModel: ScalarModel;
beforeAll(async () => {
  await useBackend("cpu");
  policy = initModel(shape, fold(root, "policy"));
  rewardModel = initScalarModel(initModel(shape, fold(root, "reward")), fold(root, "head"));
});
afterAll(() => {
  disposeModel(policy);
  disposeScalarModel(rewardModel);
});

interface RunOptions {
  readonly state?: PpoState;
  readonly score?: Scorer["Service"];
  readonly afterIteration?: (state: PpoState, report: PpoReport) => Effect.Effect<void>;
  readonly gathered?: NonNullable<Memory["values"]>;
}

/** Trains from a fresh state unless one is given; the reports of all iterations and the state at the end. */
const runTraining = Effect.fnUntraced(function* (config: PpoConfig, options: RunOptions = {}) {
  const reports: Array<PpoReport> = [];
  const state = yield* train({
    state: options.state ?? initState({ policy, rewardModel, config }),
    prompts,
    config,
    specials,
    key: root,
    decode: (tokens) => tokens.join(" "),
    afterIteration: (state, report) => {
      reports.push(report);
      return options.afterIteration?.(state, report) ?? Effect.void;
    },
    ...(options.gathered === undefined ? {} : { gathered: options.gathered }),
  }).pipe(
    Effect.provideService(Reference, policy),
    Effect.provideService(Scorer, options.score ?? share),
    Effect.provideService(PretrainingBatches, pretraining),
  );
  return { state, reports, metrics: reports.map(({ metrics }) => metrics) };
});

const silently = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Progress.layerSilent), Effect.provide(RunFolder.layerMemory)));

const weights = (state: PpoState) =>
  [state.policy, state.averagedPolicy, state.critic].flatMap(({ params }) =>
    Object.values(params).map((param) => Array.from(param.dataSync())),
  );

const timeless = (metrics: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.endsWith("PerSecond")));

describe("train", () => {
  it("raises the reward of a tiny policy, and the KL with it", async () => {
    const config = { ...base, iterations: 12, batchSize: 32, minibatchSize: 16, epochs: 2 };
    const { state, metrics } = await silently(runTraining(config));
    disposeState(state);
    const [first, last] = [metrics[0]!, metrics.at(-1)!];
    expect(first.score).toBeLessThan(0.15);
    expect(last.score).toBeGreaterThan(0.6);
    expect(last.kl).toBeGreaterThan(1);
    expect(last.rlhfReward).toBeCloseTo(last.score! - 0.02 * last.kl!, 6);
    expect(last.explainedVariance).toBeGreaterThan(first.explainedVariance!);
  });

  it("frees every tensor and leaves policy, reference and reward model alone", async () => {
    const before = tf.memory().numTensors;
    const frozen = [policy, rewardModel].map(({ params }) =>
      Object.values(params).map((param) => Array.from(param.dataSync())),
    );
    const { state } = await silently(runTraining({ ...base, ptxCoefficient: 1 }));
    disposeState(state);
    expect(tf.memory().numTensors).toBe(before);
    const after = [policy, rewardModel].map(({ params }) =>
      Object.values(params).map((param) => Array.from(param.dataSync())),
    );
    expect(after).toEqual(frozen);
  });

  it("starts at KL 0 with log-probabilities of the sampler close to those of training", async () => {
    const { state, metrics } = await silently(runTraining({ ...base, iterations: 1 }));
    disposeState(state);
    expect(metrics[0]!.kl).toBe(0);
    expect(metrics[0]!.samplingGap).toBeLessThan(1e-4);
    expect(metrics[0]!.ratio).toBeCloseTo(1, 1);
    for (const value of Object.values(metrics[0]!)) expect(Number.isFinite(value)).toBe(true);
  });

  it("does the same when it is killed and goes on, controller and what was gathered included", async () => {
    const config = { ...base, iterations: 4, klControl: adaptiveKl({ target: 0.1, horizon: 20 }) };
    const whole = await silently(runTraining(config));
    const folder = await mkdtemp(join(tmpdir(), "ppo-"));
    const keeping = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
      Effect.runPromise(
        effect.pipe(
          Effect.provide(layerCheckpoints({ everySeconds: 0 })),
          Effect.provide(Layer.merge(RunFolder.layer(folder), Progress.layerSilent)),
          Effect.provide([NodeFileSystem.layer, NodePath.layer]),
        ),
      );
    const gathered: Array<number> = [];
    const values = {
      save: () => gathered,
      restore: (saved: ReadonlyArray<number>) => void gathered.splice(0, 9, ...saved),
    };
    const afterIteration = (killAt: number) => (state: PpoState) => {
      if (state.iteration > killAt) return Effect.die("killed");
      return Effect.sync(() => void gathered.push(state.iteration));
    };
    const killed = initState({ policy, rewardModel, config });
    const half = { state: killed, gathered: values, afterIteration: afterIteration(2) };
    await expect(keeping(runTraining(config, half))).rejects.toThrow();
    disposeState(killed);
    gathered.length = 0;
    const rest = await keeping(runTraining(config, { gathered: values, afterIteration: afterIteration(9) }));
    await rm(folder, { recursive: true });
    expect(rest.metrics.map(timeless)).toEqual(whole.metrics.slice(2).map(timeless));
    expect(weights(rest.state)).toEqual(weights(whole.state));
    expect(rest.state.klController).toEqual(whole.state.klController);
    expect(rest.state.klController.coefficient).not.toBe(0.15);
    expect(rest.state.iteration).toBe(4);
    expect(gathered).toEqual([1, 2, 3, 4]);
    disposeState(whole.state);
    disposeState(rest.state);
  });

  it("can be interrupted while it waits for scores, weights untouched", async () => {
    const state = initState({ policy, rewardModel, config: base });
    const before = weights(state);
    const tensors = tf.memory().numTensors;
    const exit = await silently(
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>();
        const score = () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.never);
        const fiber = yield* Effect.forkChild(runTraining(base, { state, score }));
        yield* Deferred.await(asked);
        return yield* Fiber.interrupt(fiber).pipe(Effect.andThen(Fiber.await(fiber)));
      }),
    );
    expect(exit._tag).toBe("Failure");
    expect(tf.memory().numTensors).toBe(tensors);
    expect(weights(state)).toEqual(before);
    disposeState(state);
  });

  it("holds pretraining text with ptx", async () => {
    const config = { ...base, iterations: 4, batchSize: 32, minibatchSize: 16, ptxExamplesPerEpisode: 1 };
    const plain = await silently(runTraining(config));
    const mixed = await silently(runTraining({ ...config, ptxCoefficient: 1 }));
    expect(plain.metrics[0]).not.toHaveProperty("ptxLoss");
    expect(mixed.metrics.at(-1)!.ptxLoss).toBeLessThan(mixed.metrics[0]!.ptxLoss! - 0.5);
    disposeState(plain.state);
    disposeState(mixed.state);
  });

  it("stops at the KL budget", async () => {
    const { state, metrics } = await silently(runTraining({ ...base, iterations: 50, klBudget: 0.05 }));
    expect(state.iteration).toBeLessThan(50);
    expect(metrics.at(-1)!.kl).toBeGreaterThanOrEqual(0.05);
    expect(metrics.at(-2)!.kl).toBeLessThan(0.05);
    disposeState(state);
  });

  it("fails with a tagged error at a score that is not finite, or not to be had", async () => {
    const state = initState({ policy, rewardModel, config: base });
    const nonFinite = await silently(
      Effect.flip(
        runTraining(base, {
          state,
          score: (episodes) => Effect.succeed(new Float32Array(episodes.length).fill(NaN)),
        }),
      ),
    );
    expect(nonFinite).toMatchObject({ _tag: "NonFiniteLoss", stage: "ppo", step: 1, metric: "score" });
    const failed = await silently(
      Effect.flip(
        runTraining(base, { state, score: () => Effect.fail(new ScoreFailed({ cause: "asleep" })) }),
      ),
    );
    expect(failed._tag).toBe("ScoreFailed");
    disposeState(state);
  });

  it("tells whoever watches: a step an iteration, and tables of samples", async () => {
    const events = await Effect.runPromise(
      Effect.gen(function* () {
        const { events } = yield* Progress;
        const { state } = yield* runTraining({ ...base, iterations: 2, sampleEvery: 1, samples: 2 });
        disposeState(state);
        return yield* events.pipe(
          Stream.takeUntil((event) => event._tag === "Finished"),
          Stream.runCollect,
        );
      }).pipe(Effect.scoped, Effect.provide(Progress.layer), Effect.provide(RunFolder.layerMemory)),
    );
    const tags = Array.from<ProgressEvent, string>(events, ({ _tag }) => _tag);
    expect(tags).toEqual(["Started", "Step", "Table", "Step", "Table", "Finished"]);
    const table = events.find((event) => event._tag === "Table");
    expect(table?.rows).toHaveLength(2);
    expect(Object.keys(table?.rows[0] ?? {})).toEqual(["prompt", "response", "score", "kl"]);
  });
});
