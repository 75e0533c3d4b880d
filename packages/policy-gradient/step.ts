import * as banditEnv from "@rlhf/bandit-env";
import { onlineReport, Reference, Scorer, scopedTensors, stopwatch, trainingRollout } from "@rlhf/bandit-env";
import { fold } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import { updateKlController } from "@rlhf/kl";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { Learner } from "./services.ts";
import { update } from "./update.ts";

/**
 * One iteration of a method without a critic: several responses to each prompt, their scores, advantages of one against
 * the others, updates. It can be interrupted while it samples and while it waits for scores, never with weights half
 * updated.
 */
export const step = Effect.fn("policy-gradient.step")(
  function* (prompts: ReadonlyArray<EncodedPrompt>) {
    const { time, seconds } = stopwatch();
    const rollout = yield* time("rollout", rolloutGroups(prompts)); // tokens, mask, oldLogProbs
    const judged = yield* time("score", judge(rollout)); // + refLogProbs, scores
    const batch = yield* time("score", estimate(judged)); // + advantages
    const updates = yield* time("update", update(batch)); // epochs × minibatches
    const klCoefficient = yield* adaptKl(judged.meanKl, batch.episodes.length);
    return onlineReport({ batch, klCoefficient, updates, seconds });
  },
  Effect.scoped, // every tensor above is freed here
  Effect.uninterruptible,
);

/** As many responses to each prompt as the method compares, side by side. */
const rolloutGroups = Effect.fnUntraced(function* (prompts: ReadonlyArray<EncodedPrompt>) {
  const { method, eos, key, state } = yield* Learner;
  const { policy, iteration } = yield* Ref.get(state);
  return yield* trainingRollout({
    ...method.config,
    policy,
    prompts: prompts.flatMap((prompt) => new Array<EncodedPrompt>(method.groupSize).fill(prompt)),
    eos,
    key: fold(fold(key, "rollout"), iteration),
  });
});

const judge = Effect.fnUntraced(function* (rollout: banditEnv.TrainingRollout) {
  const { method, state } = yield* Learner;
  const reference = yield* Reference;
  const score = yield* Scorer;
  const { iteration } = yield* Ref.get(state);
  const { missingEosPenalty } = method.config;
  const judged = yield* Effect.interruptible(banditEnv.judge(rollout, { score, missingEosPenalty }));
  yield* banditEnv.requireFiniteScores(judged.scores, { stage: method.name, step: iteration + 1 });
  return yield* banditEnv.compareToReference(judged, { reference, ...method.config });
});

/** Advantages of the scores, less β times the KL of the sequence where the method takes it off there. */
const estimate = Effect.fnUntraced(function* <T extends banditEnv.Verdicts & banditEnv.ReferenceKl>(
  judged: T,
) {
  const { method, state } = yield* Learner;
  const { klController } = yield* Ref.get(state);
  const penalty = method.klPenalty === "score" ? klController.coefficient : 0;
  const rewards = judged.scores.map((score, i) => score - penalty * judged.sequenceKl[i]!);
  const tensors = yield* scopedTensors(() => ({ advantages: method.advantages(tf.tensor1d(rewards)) }));
  return { ...judged, ...tensors };
});

/** Moves the controller and counts the iteration; the result is the β of this iteration. */
const adaptKl = Effect.fnUntraced(function* (kl: number, episodes: number) {
  const { state } = yield* Learner;
  return yield* Ref.modify(state, (before) => [
    before.klController.coefficient,
    {
      ...before,
      iteration: before.iteration + 1,
      klController: updateKlController(before.klController, { kl, episodes }),
    },
  ]);
});
