import { type ReferenceKl, type Rollout, responseLogProbs, selectRows } from "@rlhf/bandit-env";
import { fold } from "@rlhf/core/random";
import { constantWithWarmup, type LossWithMetrics, trainStep } from "@rlhf/optim";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { Learner } from "./services.ts";
import { microBatches, updateInMinibatches } from "./update_in_minibatches.ts";

/** What an update reads. */
export interface PolicyGradientBatch extends Rollout, Pick<ReferenceKl, "refLogProbs"> {
  /** `[batch]` */
  readonly advantages: tf.Tensor1D;
}

/** Epochs over minibatches, one optimizer step each. The result is the means of the metrics over the optimizer steps. */
export const update = Effect.fn("policy-gradient.update")(function* (batch: PolicyGradientBatch) {
  const { method, key, state } = yield* Learner;
  const { iteration } = yield* Ref.get(state);
  const { name: stage, minibatchSize, epochs } = method;
  return yield* updateInMinibatches({
    stage,
    iteration,
    episodes: batch.episodes.length,
    epochs,
    minibatchSize,
    key: fold(fold(key, "update"), iteration),
    updateOnce: (members) => updateOnce(batch, members),
  });
});

const updateOnce = Effect.fnUntraced(function* (batch: PolicyGradientBatch, members: Int32Array) {
  const { method, state } = yield* Learner;
  const { policy, optimizer, iteration, klController } = yield* Ref.get(state);
  const { episodes, mask, oldLogProbs, refLogProbs, advantages } = batch;
  const { temperature, microBatchSize, maxGradNorm, learningRate: peak, warmupIterations } = method.config;
  const tokens = members.reduce((sum, member) => sum + episodes[member]!.response.tokens.length, 0);
  const whole = { sequences: members.length, tokens };
  const losses = microBatches(members, microBatchSize).map((part) => (): LossWithMetrics => {
    const responses = {
      episodes: Array.from(part, (member) => episodes[member]!),
      ...selectRows({ mask, oldLogProbs, refLogProbs, advantages }, part),
    };
    const { logProbs } = responseLogProbs(policy, responses, { temperature });
    const klCoefficient = klController.coefficient;
    const { loss, metrics } = method.loss({ ...responses, logProbs, klCoefficient, whole });
    const ratio = tf.exp(tf.sub(logProbs, responses.oldLogProbs));
    return {
      loss,
      metrics: {
        ...metrics,
        ratioDeviation: tf.max(tf.abs(tf.sub(ratio, 1))) as tf.Scalar,
      },
    };
  });
  const { loss, gradNorm, metrics } = yield* Effect.promise(() =>
    trainStep({
      params: policy.params,
      state: optimizer,
      losses,
      learningRate: constantWithWarmup({ peak, warmup: warmupIterations })(iteration),
      maxGradNorm,
    }),
  );
  return { policyLoss: loss, gradNorm, ...metrics };
});
