import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as NodeServices from "@effect/platform-node/NodeServices";
import { type Episode, type OnlineReport, Reference, ScoreFailed, Scorer } from "@rlhf/bandit-env";
import { layerCheckpoints } from "@rlhf/core/checkpoints";
import { Progress } from "@rlhf/core/progress";
import { fold, key } from "@rlhf/core/random";
import { RunFolder } from "@rlhf/core/run_folder";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, initModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GrpoConfig, grpo } from "./grpo.ts";
import type { Method } from "./method.ts";
import { ReinforceConfig, reinforce } from "./reinforce.ts";
import { RlooConfig, rloo } from "./rloo.ts";
import { disposeState, initState, type PolicyGradientState } from "./state.ts";
import { train } from "./train.ts";

const root = key(12);
const wanted = 3;
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

const settings = {
  iterations: 10,
  batchSize: 32,
  microBatchSize: 16,
  maxNewTokens: 6,
  missingEosPenalty: 0,
  learningRate: 0.01,
  warmupIterations: 2,
};
const updates = { minibatchSize: 16, epochs: 2, groupSize: 4 };
const methods: Record<string, Method> = {
  reinforce: reinforce(ReinforceConfig.make({ ...settings, iterations: 25, learningRate: 0.02 })),
  rloo: rloo(RlooConfig.make({ ...settings, ...updates })),
  grpo: grpo(GrpoConfig.make({ ...settings, ...updates })),
  "dr. grpo": grpo(
    GrpoConfig.make({ ...settings, ...updates, advantageScale: "none", tokenWeight: "constant" }),
  ),
};

let policy: Model;
beforeAll(async () => {
  await useBackend("cpu");
  policy = initModel(shape, fold(root, "policy"));
});
afterAll(() => disposeModel(policy));

const begin = (method: Method) => initState(policy, { klControl: method.klController });

const run = Effect.fnUntraced(function* (
  method: Method,
  options: { readonly state?: PolicyGradientState; readonly score?: Scorer["Service"] } = {},
) {
  const reports: Array<OnlineReport> = [];
  const state = yield* train(method, {
    state: options.state ?? begin(method),
    prompts,
    specials: { eos: 1 },
    key: root,
    decode: (tokens) => tokens.join(" "),
    afterIteration: (_, report) => Effect.sync(() => reports.push(report)),
  }).pipe(Effect.provideService(Reference, policy), Effect.provideService(Scorer, options.score ?? share));
  return { state, metrics: reports.map(({ metrics }) => metrics), reports };
});
const silently = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
  Effect.runPromise(effect.pipe(Effect.provide(Progress.layerSilent), Effect.provide(RunFolder.layerMemory)));

const weights = ({ policy: { params } }: PolicyGradientState) =>
  Object.values(params).map((param) => Array.from(param.dataSync()));

describe("train", () => {
  it.each(Object.entries(methods))("raises the reward of a tiny policy: %s", async (_, method) => {
    const before = tf.memory().numTensors;
    const { state, metrics } = await silently(run(method));
    disposeState(state);
    expect(tf.memory().numTensors).toBe(before);
    const [first, last] = [metrics[0]!, metrics.at(-1)!];
    expect(first.kl).toBe(0);
    expect(first.score).toBeLessThan(0.15);
    expect(last.score).toBeGreaterThan(0.5);
    expect(last.kl).toBeGreaterThan(0.5);
    expect(first.samplingGap).toBeLessThan(1e-4);
  });

  it("samples as many responses to each prompt as are compared, side by side", async () => {
    const config = GrpoConfig.make({ ...settings, ...updates, iterations: 1 });
    const { state, reports } = await silently(run(grpo(config)));
    disposeState(state);
    const ids = reports[0]!.episodes.map(({ prompt }) => prompt.id);
    expect(ids).toHaveLength(32);
    for (let group = 0; group < 8; group++) {
      expect(new Set(ids.slice(4 * group, 4 * group + 4)).size).toBe(1);
    }
    expect(new Set(ids).size).toBe(8);
  });

  it("has the same metrics and weights whatever the size of a micro-batch", async () => {
    const withParts = (microBatchSize: number) =>
      silently(run(grpo(GrpoConfig.make({ ...settings, ...updates, iterations: 2, microBatchSize }))));
    const [whole, parts] = [await withParts(16), await withParts(5)];
    const [a, b] = [weights(whole.state).flat(), weights(parts.state).flat()];
    disposeState(whole.state);
    disposeState(parts.state);
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-3);
    for (const name of ["policyLoss", "lossKl", "clipFraction", "entropy"]) {
      expect(parts.metrics[0]![name]).toBeCloseTo(whole.metrics[0]![name]!, 4);
    }
  });

  it("goes on from its state as if it had not stopped", async () => {
    const of = (iterations: number) => rloo(RlooConfig.make({ ...settings, ...updates, iterations }));
    const whole = await silently(run(of(3)));
    const half = await silently(run(of(1)));
    const rest = await silently(run(of(3), { state: half.state }));
    expect(weights(rest.state)).toEqual(weights(whole.state));
    disposeState(whole.state);
    disposeState(rest.state);
  });

  it("does the same when it is killed and goes on from the run's checkpoints", async () => {
    const folder = await mkdtemp(join(tmpdir(), "policy-gradient-"));
    const method = grpo(GrpoConfig.make({ ...settings, ...updates, iterations: 4 }));
    const inFolder = <A, E>(effect: Effect.Effect<A, E, Progress | RunFolder>) =>
      Effect.runPromise(
        effect.pipe(
          Effect.provide(layerCheckpoints({ everySeconds: 0 })),
          Effect.provide(RunFolder.layer(folder)),
          Effect.provide(Progress.layerSilent),
          Effect.provide(NodeServices.layer),
        ),
      );
    let asked = 0;
    const dying: Scorer["Service"] = (episodes) => (++asked > 2 ? Effect.die("killed") : share(episodes));
    const killed = begin(method);
    await expect(inFolder(run(method, { state: killed, score: dying }))).rejects.toThrow("killed");
    disposeState(killed);
    const rest = await inFolder(run(method));
    const whole = await silently(run(method));
    expect(rest.reports).toHaveLength(2);
    expect(weights(rest.state)).toEqual(weights(whole.state));
    disposeState(rest.state);
    disposeState(whole.state);
    await rm(folder, { recursive: true });
  });

  it("fails with a tagged error at a score that is not finite, or not to be had", async () => {
    const method = methods.grpo!;
    const state = begin(method);
    const nan = (episodes: ReadonlyArray<Episode>) =>
      Effect.succeed(new Float32Array(episodes.length).fill(NaN));
    const nonFinite = await silently(Effect.flip(run(method, { state, score: nan })));
    expect(nonFinite).toMatchObject({ _tag: "NonFiniteLoss", stage: "grpo", step: 1, metric: "score" });
    const asleep = () => Effect.fail(new ScoreFailed({ cause: "asleep" }));
    const failed = await silently(Effect.flip(run(method, { state, score: asleep })));
    expect(failed._tag).toBe("ScoreFailed");
    disposeState(state);
  });
});

it("refuses sizes that do not divide the batch, and groups of one", () => {
  const decode = Schema.decodeUnknownSync(GrpoConfig);
  expect(() => decode({ batchSize: 30, groupSize: 8, minibatchSize: 15 })).toThrow(
    "groupSize must divide batchSize (30), got 8",
  );
  expect(() => decode({ groupSize: 1 })).toThrow();
});
