import { type Rollout, selectRows } from "@rlhf/bandit-env";
import { fold, type Key } from "@rlhf/core/random";
import { constantWithWarmup, trainStep, updateEma } from "@rlhf/optim";
import { microBatches, updateInMinibatches } from "@rlhf/policy-gradient/update_in_minibatches";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { stageName } from "./config.ts";
import { criticLoss } from "./critic_loss.ts";
import type { Estimates } from "./estimate.ts";
import { policyLoss } from "./policy_loss.ts";
import { ptxLosses } from "./ptx.ts";
import { Learner, PretrainingBatches } from "./services.ts";

/** What an update reads. */
export type PpoBatch = Rollout & Estimates;

/**
 * Epochs over minibatches. Each minibatch is one optimizer step of the policy, on the sum of clipped surrogate and
 * pretraining loss, and one of the value network; afterwards the average of the policy's weights moves. The result
 * is the means of the metrics over the optimizer steps.
 */
export const update = Effect.fn("ppo.update")(function* (batch: PpoBatch) {
  const { config, key, state } = yield* Learner;
  const { iteration, policy, averagedPolicy } = yield* Ref.get(state);
  const iterationKey = fold(fold(key, "update"), iteration);
  const metrics = yield* updateInMinibatches({
    ...config,
    stage: stageName(config),
    iteration,
    episodes: batch.episodes.length,
    key: iterationKey,
    updateOnce: (members, update) =>
      updateOnce(batch, members, fold(fold(iterationKey, "pretraining"), update)),
  });
  updateEma(averagedPolicy.params, policy.params, config.emaDecay);
  return metrics;
});

/** One optimizer step of policy and value network on one minibatch. */
const updateOnce = Effect.fnUntraced(function* (batch: PpoBatch, members: Int32Array, key: Key) {
  const { config, state } = yield* Learner;
  const { policy, policyOptimizer, critic, criticOptimizer, iteration } = yield* Ref.get(state);
  const { episodes, mask, oldLogProbs, advantages, values, returns } = batch;
  const { temperature, clipRange, valueClipRange, maxGradNorm, warmupIterations: warmup } = config;
  const rate = (peak: number) => constantWithWarmup({ peak, warmup })(iteration);
  const denominator = members.reduce((sum, member) => sum + episodes[member]!.response.tokens.length, 0);
  const parts = microBatches(members, config.microBatchSize);
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
  return {
    policyLoss: policyStep.losses.slice(0, parts.length).reduce((sum, loss) => sum + loss, 0),
    gradNorm: policyStep.gradNorm,
    valueLoss: criticStep.loss,
    valueGradNorm: criticStep.gradNorm,
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
