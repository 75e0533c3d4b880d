import { type EpisodeTensors, type Rollout, responseValues, selectRows } from "@rlhf/bandit-env";
import { NonFiniteLoss } from "@rlhf/core/errors";
import { fold, type Key } from "@rlhf/core/random";
import { minibatches, type TokenBatch } from "@rlhf/data";
import { constantWithWarmup, type Loss, trainStep, updateEma } from "@rlhf/optim";
import type * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { RatioNotOne } from "./errors.ts";
import type { Estimates } from "./estimate.ts";
import { policyLoss } from "./policy_loss.ts";
import { ptxLoss } from "./ptx.ts";
import { Learner, PretrainingBatches } from "./services.ts";
import type { PpoState } from "./state.ts";
import { clippedValueLoss } from "./value_loss.ts";

/** Kernels may round a row differently in another batch; what the check is for is far larger. */
const ratioTolerance = 1e-3;

/** The rows that an update reads. */
type UpdateRows = EpisodeTensors & {
  readonly oldLogProbs: tf.Tensor2D;
  readonly advantages: tf.Tensor2D;
  readonly values: tf.Tensor2D;
  readonly returns: tf.Tensor2D;
};

/**
 * Epochs over minibatches. Each minibatch is one optimizer step of the policy, on the sum of clipped surrogate and
 * pretraining loss, and one of the value network; afterwards the average of the policy's weights moves. The result
 * is the means of the metrics over the optimizer steps.
 */
export const update = Effect.fn("ppo.update")(function* (
  batch: Pick<Rollout, "episodes" | "tensors" | "oldLogProbs"> & Estimates,
) {
  const { config, key, state } = yield* Learner;
  const current = yield* Ref.get(state);
  const { episodes, tensors, oldLogProbs, advantages, values, returns } = batch;
  const rows: UpdateRows = { ...tensors, oldLogProbs, advantages, values, returns };
  const lengths = episodes.map(({ response }) => response.tokens.length);
  const iterationKey = fold(fold(key, "update"), current.iteration);
  const history: Array<Readonly<Record<string, number>>> = [];
  for (let epoch = 0; epoch < config.epochs; epoch++) {
    for (const members of minibatches(fold(iterationKey, epoch), lengths.length, config.minibatchSize)) {
      const { ratioDeviation, ...metrics } = yield* updateOnce({
        current,
        rows,
        members,
        tokens: members.reduce((sum, member) => sum + lengths[member]!, 0),
        key: fold(fold(iterationKey, "pretraining"), history.length),
      });
      if (history.length === 0 && !(ratioDeviation <= ratioTolerance)) {
        return yield* new RatioNotOne({ iteration: current.iteration + 1, deviation: ratioDeviation });
      }
      history.push(metrics);
    }
  }
  updateEma(current.averagedPolicy.params, current.policy.params, config.emaDecay);
  return means(history);
});

/** One optimizer step of policy and value network on one minibatch. */
const updateOnce = Effect.fnUntraced(function* ({
  current,
  rows,
  members,
  tokens,
  key,
}: {
  readonly current: PpoState;
  readonly rows: UpdateRows;
  readonly members: Int32Array;
  readonly tokens: number;
  readonly key: Key;
}) {
  const { config } = yield* Learner;
  const { policy, policyOptimizer, critic, criticOptimizer, iteration } = current;
  const { temperature, clipRange, valueClipRange, maxGradNorm, warmupIterations: warmup } = config;
  const parts = partsOf(members, config.microBatchSize);
  const surrogate = parts.map(
    (part): Loss =>
      () => {
        return policyLoss(policy, selectRows(rows, part), { temperature, clipRange, denominator: tokens });
      },
  );
  const pretraining = config.ptxCoefficient > 0 ? yield* pretrainingLosses(current, members.length, key) : [];
  const value = parts.map(
    (part): Loss =>
      () => {
        const { values: oldValues, returns, mask, ...episodes } = selectRows(rows, part);
        const { loss, clipFraction } = clippedValueLoss({
          values: responseValues(critic, { ...episodes, mask }),
          oldValues,
          returns,
          mask,
          clipRange: valueClipRange,
          denominator: tokens,
        });
        return { loss, metrics: { valueClipFraction: clipFraction } };
      },
  );
  const rate = (peak: number) => constantWithWarmup({ peak, warmup })(iteration);
  const policyStep = yield* Effect.promise(() =>
    trainStep({
      params: policy.params,
      state: policyOptimizer,
      losses: [...surrogate, ...pretraining],
      learningRate: rate(config.policyLearningRate),
      maxGradNorm,
    }),
  );
  yield* requireFinite(iteration, { policyLoss: policyStep.loss, gradNorm: policyStep.gradNorm });
  const criticStep = yield* Effect.promise(() =>
    trainStep({
      params: critic.params,
      state: criticOptimizer,
      losses: value,
      learningRate: rate(config.criticLearningRate),
      maxGradNorm,
    }),
  );
  yield* requireFinite(iteration, { valueLoss: criticStep.loss, valueGradNorm: criticStep.gradNorm });
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

/** The pretraining rows that belong to a minibatch, as losses of at most a micro-batch each. */
const pretrainingLosses = Effect.fnUntraced(function* (current: PpoState, episodes: number, key: Key) {
  const { config } = yield* Learner;
  const { draw } = yield* PretrainingBatches;
  const { microBatchSize } = config;
  const rows = episodes * config.ptxExamplesPerEpisode;
  const drawn = Array.from({ length: Math.ceil(rows / microBatchSize) }, (_, i) =>
    draw(fold(key, i), Math.min(microBatchSize, rows - i * microBatchSize)),
  );
  const targets = (batch: TokenBatch) => batch.lossMask.reduce((sum, counts) => sum + counts, 0);
  const denominator = drawn.reduce((sum, batch) => sum + targets(batch), 0);
  return drawn.map(
    (batch): Loss =>
      () => {
        return ptxLoss(current.policy, batch, { coefficient: config.ptxCoefficient, denominator });
      },
  );
});

function requireFinite(iteration: number, metrics: Readonly<Record<string, number>>) {
  const found = Object.entries(metrics).find(([, value]) => !Number.isFinite(value));
  if (found === undefined) return Effect.void;
  const [metric, value] = found;
  return Effect.fail(new NonFiniteLoss({ stage: "ppo", step: iteration + 1, metric, value }));
}

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
