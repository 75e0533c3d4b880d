import {
  type Episode,
  responseLogProbs,
  responseMask,
  responseValues,
  scopedTensors,
} from "@rlhf/bandit-env";
import { fold, key, normals } from "@rlhf/core/random";
import { padRight } from "@rlhf/data";
import { accumulateGrads, type Loss } from "@rlhf/optim";
import { maskedWhiten } from "@rlhf/tensor";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, disposeScalarModel, initModel, initScalarModel } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { beforeAll, expect, it } from "vitest";
import { PpoConfig } from "./config.ts";
import { policyLoss } from "./policy_loss.ts";
import { ptxLosses } from "./ptx.ts";
import { Learner, PretrainingBatches } from "./services.ts";
import { disposeState, initState } from "./state.ts";
import { update } from "./update.ts";

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
  batchSize: 8,
  minibatchSize: 4,
  epochs: 2,
  policyLearningRate: 1e-3,
  criticLearningRate: 1e-3,
  ptxCoefficient: 0.5,
  ptxExamplesPerEpisode: 1,
});
const episodes: ReadonlyArray<Episode> = Array.from({ length: 8 }, (_, i) => ({
  prompt: { id: `${i}`, tokens: [4 + (i % 5), 5] },
  response: { tokens: [6, 7, 8, 9, 2, 3].slice(0, 1 + (i % 6)), finished: false },
}));
const text = [{ tokens: [9, 8, 7, 6] }, { tokens: [5, 4] }];
const tokens = episodes.reduce((sum, { response }) => sum + response.tokens.length, 0);

beforeAll(() => useBackend("cpu"));

/** Updates fresh networks on made-up advantages; `gap` is added to the recorded log-probabilities. */
const updated = (settings: PpoConfig, gap = 0) =>
  Effect.gen(function* () {
    const policy = initModel(shape, fold(root, "policy"));
    const rewardModel = initScalarModel(initModel(shape, fold(root, "reward")), fold(root, "head"));
    const state = initState({ policy, rewardModel, config: settings });
    const batch = yield* scopedTensors(() => {
      const responses = { episodes, mask: responseMask(episodes) };
      const { mask } = responses;
      const noise = tf.tensor2d(normals(fold(root, "advantages"), mask.size), mask.shape);
      const advantages = maskedWhiten(noise, mask, { center: true });
      const values = responseValues(state.critic, responses);
      const { logProbs } = responseLogProbs(policy, responses, { temperature: 1 });
      return {
        mask,
        oldLogProbs: tf.add(logProbs, gap) as tf.Tensor2D,
        advantages,
        values,
        returns: tf.add(values, advantages) as tf.Tensor2D,
      };
    });
    const metrics = yield* update({ ...batch, episodes, explainedVariance: 0 }).pipe(
      Effect.provideService(Learner, {
        config: settings,
        eos: 1,
        key: root,
        state: yield* Ref.make(state),
      }),
      Effect.provideService(PretrainingBatches, PretrainingBatches.fromRows(text, { padId: 0 })),
      Effect.ensuring(
        Effect.sync(() => {
          disposeModel(policy);
          disposeScalarModel(rewardModel);
        }),
      ),
    );
    const trained = [state.policy, state.critic].flatMap(({ params }) =>
      Object.values(params).flatMap((param) => [...param.dataSync()]),
    );
    disposeState(state);
    return { metrics, trained };
  }).pipe(Effect.scoped);

it("gives the same weights and metrics whatever the size of a micro-batch", async () => {
  const before = tf.memory().numTensors;
  const whole = await Effect.runPromise(updated(config));
  const parts = await Effect.runPromise(updated({ ...config, microBatchSize: 3 }));
  expect(tf.memory().numTensors).toBe(before);
  whole.trained.forEach((weight, i) => {
    expect(Math.abs(parts.trained[i]! - weight)).toBeLessThan(2e-5);
  });
  for (const [name, value] of Object.entries(whole.metrics)) {
    expect(parts.metrics[name]).toBeCloseTo(value, 4);
  }
});

it("refuses to go on when the log-probabilities are not those of the policy", async () => {
  const error = await Effect.runPromise(Effect.flip(updated(config, 0.01)));
  expect(error._tag).toBe("RatioNotOne");
  expect(error.message).toContain("ppo-ptx iteration 1");
});

it("accumulates the gradients of PPO and of pretraining: together they are their sum", () => {
  const policy = initModel(shape, root);
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const mask = responseMask(episodes);
    const responses = { episodes, mask };
    const { logProbs } = responseLogProbs(policy, responses, { temperature: 1 });
    const oldLogProbs = tf.sub(logProbs, 0.1) as tf.Tensor2D;
    const advantages = tf.tensor2d(normals(root, mask.size), mask.shape);
    const surrogate = () => {
      const options = { temperature: 1, clipRange: 0.2, denominator: tokens };
      return policyLoss(policy, { ...responses, oldLogProbs, advantages }, options);
    };
    const pretraining = (coefficient: number) =>
      ptxLosses(policy, padRight(text, { padId: 0 }), { coefficient, microBatchSize: 1 });
    const gradsOf = (...losses: ReadonlyArray<Loss>) => {
      const { grads, metrics } = accumulateGrads(policy.params, losses);
      tf.dispose({ ...metrics });
      return grads;
    };
    const both = gradsOf(surrogate, ...pretraining(27.8));
    const first = gradsOf(surrogate);
    const second = gradsOf(...pretraining(27.8));
    const unscaled = gradsOf(...pretraining(1));
    for (const name of Object.keys(policy.params)) {
      const gap = tf.sub(both[name]!, tf.add(first[name]!, second[name]!));
      expect(tf.max(tf.abs(gap)).dataSync()[0]).toBeLessThan(1e-5);
      const scaled = tf.sub(second[name]!, tf.mul(unscaled[name]!, 27.8));
      expect(tf.max(tf.abs(scaled)).dataSync()[0]).toBeLessThan(1e-4);
    }
  });
  expect(tf.memory().numTensors).toBe(before);
  disposeModel(policy);
});
