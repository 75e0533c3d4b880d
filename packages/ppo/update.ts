import { type Rollout, selectRows } from "@rlhf/bandit-env";
import { NonFiniteLoss } from "@rlhf/core/errors";
import { fold, type Key } from "@rlhf/core/random";
import { minibatches } from "@rlhf/data";
import { constantWithWarmup, trainStep, updateEma } from "@rlhf/optim";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { stageName } from "./config.ts";
import { criticLoss } from "./critic_loss.ts";
import { RatioNotOne } from "./errors.ts";
import type { Estimates } from "./estimate.ts";
import { policyLoss } from "./policy_loss.ts";
import { ptxLosses } from "./ptx.ts";
import { Learner, PretrainingBatches } from "./services.ts";

/** What an update reads. */
export type PpoBatch = Rollout & Estimates;

/** Kernels may round a row differently in another batch; what the check is for is far larger. */
const ratioTolerance = 1e-3;

/**
 * Epochs over minibatches. Each minibatch is one optimizer step of the policy, on the sum of clipped surrogate and
 * pretraining loss, and one of the value network; afterwards the average of the policy's weights moves. The result
 * is the means of the metrics over the optimizer steps.
 */
export const update = Effect.fn("ppo.update")(function* (batch: PpoBatch) {
  const { config, key, state } = yield* Learner;
  const { iteration, policy, averagedPolicy } = yield* Ref.get(state);
  const iterationKey = fold(fold(key, "update"), iteration);
  const history: Array<Readonly<Record<string, number>>> = [];
  for (let epoch = 0; epoch < config.epochs; epoch++) {
    const order = fold(iterationKey, epoch);
    for (const members of minibatches(order, batch.episodes.length, config.minibatchSize)) {
      const { ratioDeviation, ...metrics } = yield* updateOnce(
        batch,
        members,
        fold(fold(iterationKey, "pretraining"), history.length),
      );
      if (history.length === 0 && !(ratioDeviation <= ratioTolerance)) {
        return yield* new RatioNotOne({ iteration: iteration + 1, deviation: ratioDeviation });
      }
      history.push(metrics);
      yield* Effect.yieldNow; // the math was synchronous: others have their turn
    }
  }
  updateEma(averagedPolicy.params, policy.params, config.emaDecay);
  return means(history);
});

/** One optimizer step of policy and value network on one minibatch. */
const updateOnce = Effect.fnUntraced(function* (batch: PpoBatch, members: Int32Array, key: Key) {
  const { config, state } = yield* Learner;
  const { policy, policyOptimizer, critic, criticOptimizer, iteration } = yield* Ref.get(state);
  const { episodes, mask, oldLogProbs, advantages, values, returns } = batch;
  const { temperature, clipRange, valueClipRange, maxGradNorm, warmupIterations: warmup } = config;
  const rate = (peak: number) => constantWithWarmup({ peak, warmup })(iteration);
  const denominator = members.reduce((sum, member) => sum + episodes[member]!.response.tokens.length, 0);
  const parts = partsOf(members, config.microBatchSize);
  const select = (part: Int32Array) => ({
    episodes: Array.from(part, (member) => episodes[member]!),
    ...selectRows({ mask, oldLogProbs, advantages, values, returns }, part),
  });

  const pretraining = config.ptxCoefficient > 0 ? yield* pretrainingLosses(members.length, key) : [];
  const surrogate = parts.map((part) => () => {
    return policyLoss(policy, select(part), { temperature, clipRange, denominator });
  });
  const policyStep = yield* Effect.promise(() =>
    trainStep({
      params: policy.params,
      state: policyOptimizer,
      losses: [...surrogate, ...pretraining],
      learningRate: rate(config.policyLearningRate),
      maxGradNorm,
    }),
  );
  yield* requireFinite({ policyLoss: policyStep.loss, gradNorm: policyStep.gradNorm });

  const value = parts.map((part) => () => {
    return criticLoss(critic, select(part), { clipRange: valueClipRange, denominator });
  });
  const criticStep = yield* Effect.promise(() =>
    trainStep({
      params: critic.params,
      state: criticOptimizer,
      losses: value,
      learningRate: rate(config.criticLearningRate),
      maxGradNorm,
    }),
  );
  yield* requireFinite({ valueLoss: criticStep.loss, valueGradNorm: criticStep.gradNorm });
  return {
    policyLoss: policyStep.losses.slice(0, parts.length).reduce((sum, loss) => sum + loss, 0),
    gradNorm: policyStep.gradNorm,
    valueLoss: criticStep.loss,
    valueGradNorm: criticStep.gradNorm,
    ratioDeviation: policyStep.metrics.ratioDeviation!,
    ...policyStep.metrics,
    ...criticStep.metrics,
  };
});

/** The pretraining rows that go with a minibatch of so many episodes. */
const pretrainingLosses = Effect.fnUntraced(function* (episodes: number, key: Key) {
  const { config, state } = yield* Learner;
  const { policy } = yield* Ref.get(state);
  const { draw } = yield* PretrainingBatches;
  const { ptxCoefficient: coefficient, ptxExamplesPerEpisode, microBatchSize } = config;
  return ptxLosses(policy, draw(key, episodes * ptxExamplesPerEpisode), { coefficient, microBatchSize });
});

const requireFinite = Effect.fnUntraced(function* (metrics: Readonly<Record<string, number>>) {
  const { config, state } = yield* Learner;
  const { iteration } = yield* Ref.get(state);
  for (const [metric, value] of Object.entries(metrics)) {
    if (!Number.isFinite(value)) {
      return yield* new NonFiniteLoss({ stage: stageName(config), step: iteration + 1, metric, value });
    }
  }
});

function partsOf(members: Int32Array, size: number): Array<Int32Array> {
  return Array.from({ length: Math.ceil(members.length / size) }, (_, i) =>
    members.subarray(i * size, (i + 1) * size),
  );
}

function means(history: ReadonlyArray<Readonly<Record<string, number>>>): Record<string, number> {
  return Object.fromEntries(
    Object.keys(history[0]!).map((name) => [
      name,
      history.reduce((sum, metrics) => sum + metrics[name]!, 0) / history.length,
    ]),
  );
}
