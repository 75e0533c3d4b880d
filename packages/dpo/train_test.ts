import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { type Episode, Reference, Scorer } from "@rlhf/bandit-env";
import { layerCheckpoints } from "@rlhf/core/checkpoints";
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { fold, integers, key } from "@rlhf/core/random";
import type { EncodedRanking } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, initModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DpoConfig, OnlineDpoConfig, type PreferenceLoss } from "./config.ts";
import { disposeState, initState, trainOnlineDpo } from "./online.ts";
import { trainDpo } from "./train.ts";

const root = key(21);
const eos = 1;
const wanted = 3;
const shape = {
  architecture: "gpt2",
  vocabSize: 12,
  contextLength: 16,
  layers: 1,
  width: 16,
  heads: 2,
} as const;

/** Three responses to a prompt, ranked by how many wanted tokens they have; ties are left in. */
const rankings = (name: string, count: number): Array<EncodedRanking> =>
  Array.from({ length: count }, (_, i) => {
    const from = fold(fold(root, name), i);
    const responses = [0, 1, 2].map((j) => [...integers(fold(from, j), 4, 4)].map((t) => t + 2).concat(eos));
    const wins = responses.map((tokens) => tokens.filter((token) => token === wanted).length);
    return {
      prompt: [4 + (i % 6), 5],
      responses,
      ranks: wins.map((w) => 1 + wins.filter((o) => o > w).length),
    };
  });
const training = rankings("training", 72);
const validation = rankings("validation", 32);

let policy: Model;
beforeAll(async () => {
  await useBackend("cpu");
  policy = initModel(shape, fold(root, "policy"));
});
afterAll(() => disposeModel(policy));

const silently = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Progress.layerSilent), Effect.provide(RunFolder.layerMemory)));
const weights = ({ params }: Model) => Object.values(params).flatMap((param) => Array.from(param.dataSync()));

const losses: ReadonlyArray<PreferenceLoss> = [
  { _tag: "Dpo", beta: 0.3, labelSmoothing: 0 },
  { _tag: "Dpo", beta: 0.3, labelSmoothing: 0.1 },
  { _tag: "RobustDpo", beta: 0.3, flipRate: 0.1 },
  { _tag: "Ipo", tau: 0.3 },
  { _tag: "Kto", beta: 0.3, desirableWeight: 1, undesirableWeight: 1 },
  { _tag: "Orpo", lambda: 1 },
  { _tag: "Simpo", beta: 2, gamma: 0.5 },
];
const settings = { epochs: 4, batchSize: 12, microBatchSize: 12, learningRate: 5e-3 };

const share = (episodes: ReadonlyArray<Episode>) =>
  Effect.succeed(
    Float32Array.from(
      episodes,
      ({ response }) => response.tokens.filter((token) => token === wanted).length / response.tokens.length,
    ),
  );
const prompts = Array.from({ length: 12 }, (_, i) => ({ id: `${i}`, tokens: [4 + (i % 6), 5, 6] }));

describe("offline", () => {
  it.each(losses)("learns what rankings prefer, on prompts it has not seen: $_tag", async (loss) => {
    const before = tf.memory().numTensors;
    const frozen = weights(policy);
    const config = DpoConfig.make({ ...settings, loss });
    const { model, accuracy } = await silently(
      trainDpo({ policy, rankings: training, validation, config, key: root }),
    );
    disposeModel(model);
    expect(tf.memory().numTensors).toBe(before);
    expect(weights(policy)).toEqual(frozen);
    expect(accuracy.accuracy).toBeGreaterThan(0.85);
  });

  it("has the same weights whatever the size of a micro-batch", async () => {
    const withParts = async (microBatchSize: number) => {
      const config = DpoConfig.make({ ...settings, epochs: 1, microBatchSize, loss: losses[4]! });
      const { model } = await silently(
        trainDpo({ policy, rankings: training, validation, config, key: root }),
      );
      const trained = weights(model);
      disposeModel(model);
      return trained;
    };
    const [whole, parts] = [await withParts(12), await withParts(5)];
    expect(Math.max(...whole.map((value, i) => Math.abs(value - parts[i]!)))).toBeLessThan(1e-3);
  });

  it("takes the same steps whether one or several people ranked the same way", async () => {
    const withPeople = async (people: number) => {
      const tokens: Array<number> = [];
      const count = (event: ProgressEvent) =>
        Effect.sync(() => event._tag === "Step" && event.stage === "dpo" && tokens.push(event.tokens));
      const config = DpoConfig.make({ ...settings, epochs: 1 });
      const everybody = Array.from({ length: people }, () => training).flat();
      const { model } = await Effect.runPromise(
        trainDpo({ policy, rankings: everybody, validation, config, key: root }).pipe(
          Effect.provideService(Progress, { publish: count, events: Stream.empty }),
          Effect.provide(RunFolder.layerMemory),
        ),
      );
      const trained = weights(model);
      disposeModel(model);
      return { trained, tokens };
    };
    const [one, three] = [await withPeople(1), await withPeople(3)];
    expect(three.tokens).toEqual(one.tokens);
    expect(Math.max(...one.trained.map((value, i) => Math.abs(value - three.trained[i]!)))).toBeLessThan(
      1e-3,
    );
  });

  it("says all that is wrong with its rankings at once", async () => {
    const tied: EncodedRanking = {
      prompt: [4],
      responses: [
        [5, eos],
        [6, eos],
      ],
      ranks: [1, 1],
    };
    const wrong: ReadonlyArray<EncodedRanking> = [
      { ...tied, ranks: [1] },
      { ...tied, responses: [new Array(20).fill(5), [eos]] },
      { ...tied, responses: [[], [eos]] },
    ];
    const config = DpoConfig.make({});
    const error = await silently(
      Effect.flip(trainDpo({ policy, rankings: wrong, validation: [], config, key: root })),
    );
    expect(error._tag).toBe("InvalidInput");
    for (const part of ["2 responses, 1 ranks", "21 tokens", "has no token", "no ranking prefers"]) {
      expect(error.message).toContain(part);
    }
  });
});

describe("online", () => {
  it.each([losses[0]!, losses[4]!])("raises the score of a tiny policy: $_tag", async (loss) => {
    const before = tf.memory().numTensors;
    const config = OnlineDpoConfig.make({
      loss,
      iterations: 16,
      batchSize: 32,
      responsesPerPrompt: 4,
      minibatchSize: 4,
      maxNewTokens: 6,
      missingEosPenalty: 0,
      learningRate: 5e-3,
      warmupIterations: 2,
    });
    const scores: Array<number> = [];
    const state = await silently(
      trainOnlineDpo({
        state: initState(policy),
        prompts,
        config,
        specials: { eos },
        key: root,
        decode: (tokens) => tokens.join(" "),
        afterIteration: (_, { metrics }) => Effect.sync(() => scores.push(metrics.score!)),
      }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, share)),
    );
    expect(state.iteration).toBe(16);
    disposeState(state);
    expect(tf.memory().numTensors).toBe(before);
    expect(scores[0]).toBeLessThan(0.15);
    expect(scores.at(-1)).toBeGreaterThan(0.5);
  });

  it("has the same weights whatever the size of a micro-batch", async () => {
    const withParts = async (microBatchSize: number) => {
      const config = OnlineDpoConfig.make({
        iterations: 1,
        batchSize: 16,
        minibatchSize: 4,
        microBatchSize,
        maxNewTokens: 4,
      });
      const state = await silently(
        trainOnlineDpo({
          state: initState(policy),
          prompts,
          config,
          specials: { eos },
          key: root,
          decode: (tokens) => tokens.join(" "),
        }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, share)),
      );
      const trained = weights(state.policy);
      disposeState(state);
      return trained;
    };
    const [whole, parts] = [await withParts(4), await withParts(3)];
    expect(Math.max(...whole.map((value, i) => Math.abs(value - parts[i]!)))).toBeLessThan(1e-6);
  });

  it("does nothing where all responses score alike", async () => {
    const config = OnlineDpoConfig.make({
      iterations: 1,
      batchSize: 8,
      maxNewTokens: 4,
      missingEosPenalty: 0,
    });
    const alike = (episodes: ReadonlyArray<Episode>) => Effect.succeed(new Float32Array(episodes.length));
    const state = await silently(
      trainOnlineDpo({
        state: initState(policy),
        prompts,
        config,
        specials: { eos },
        key: root,
        decode: (tokens) => tokens.join(" "),
      }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, alike)),
    );
    expect(weights(state.policy)).toEqual(weights(policy));
    disposeState(state);
  });
});

describe("killed and resumed", () => {
  const decode = (tokens: ReadonlyArray<number>) => tokens.join(" ");
  const offline = Effect.gen(function* () {
    const config = DpoConfig.make({ ...settings, epochs: 1 });
    const { model, accuracy } = yield* trainDpo({
      policy,
      rankings: training,
      validation,
      config,
      key: root,
    });
    const outcome = { weights: weights(model), accuracy };
    disposeModel(model);
    return outcome;
  });
  const online = Effect.gen(function* () {
    const config = OnlineDpoConfig.make({ iterations: 5, batchSize: 8, minibatchSize: 2, maxNewTokens: 4 });
    const initial = initState(policy);
    return yield* trainOnlineDpo({
      state: initial,
      prompts,
      config,
      specials: { eos },
      key: root,
      decode,
    }).pipe(
      Effect.provideService(Reference, policy),
      Effect.provideService(Scorer, share),
      Effect.map((trained) => ({ weights: weights(trained.policy), iteration: trained.iteration })),
      Effect.ensuring(Effect.sync(() => disposeState(initial))),
    );
  });

  it.each<
    [string, Effect.Effect<{ readonly weights: ReadonlyArray<number> }, unknown, Progress | RunFolder>]
  >([
    ["offline", offline],
    ["online", online],
  ])("%s training ends as if nothing had happened", async (_, run) => {
    const folder = await mkdtemp(join(tmpdir(), "dpo-"));
    /** A process that writes into a folder of the run's and dies when it wants to write down a step after `last`. */
    const process = (name: string, last = Number.POSITIVE_INFINITY) =>
      Effect.runPromise(
        run.pipe(
          Effect.provide(layerCheckpoints({ everySeconds: 0 })),
          Effect.provide(mortal(last)),
          Effect.provide(RunFolder.layer(join(folder, name))),
          Effect.provide(Progress.layerSilent),
          Effect.provide(NodeServices.layer),
        ),
      );
    const metrics = async (name: string) =>
      (await readFile(join(folder, name, "metrics.jsonl"), "utf8")).replace(/"\w*PerSecond":[^,}]*,?/g, "");
    const whole = await process("whole");
    for (const last of [2, 3]) await expect(process("killed", last)).rejects.toThrow("killed");
    expect(await process("killed")).toEqual(whole);
    expect(await metrics("killed")).toBe(await metrics("whole"));
    await rm(folder, { recursive: true });
  });

  const mortal = (last: number) =>
    Layer.effect(
      RunFolder,
      Effect.map(RunFolder, (folder) => ({
        ...folder,
        appendMetrics: (stage, step, metrics) =>
          step > last ? Effect.die("killed") : folder.appendMetrics(stage, step, metrics),
      })),
    );
});
