import type { Episode } from "@rlhf/bandit-env";
import type { EncodedPrompt } from "@rlhf/core/records";
import { updateKlController } from "@rlhf/kl";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { stopwatch } from "./_stopwatch.ts";
import { type Estimates, estimate } from "./estimate.ts";
import { judge, type Rewards } from "./judge.ts";
import { type PpoRollout, rolloutPrompts } from "./rollout_prompts.ts";
import { Learner } from "./services.ts";
import { update } from "./update.ts";

/** What an iteration reports; nothing in it needs the Scope. */
export interface PpoReport {
  readonly metrics: Readonly<Record<string, number>>;
  readonly episodes: ReadonlyArray<Episode>;
  readonly scores: Float32Array;
  readonly sequenceKl: Float32Array;
}

/**
 * One PPO iteration (Ziegler et al. 2019; Ouyang et al. 2022, appendix C.4). It can be interrupted while it samples
 * and while it waits for scores, never with weights half updated.
 */
export const step = Effect.fn("ppo.step")(
  function* (prompts: ReadonlyArray<EncodedPrompt>) {
    const { time, seconds } = stopwatch();
    const rollout = yield* time("rollout", rolloutPrompts(prompts)); // tokens, mask, oldLogProbs
    const judged = yield* time("score", judge(rollout)); // + refLogProbs, scores, rewards
    const batch = yield* time("score", estimate(judged)); // + values, advantages, returns
    const updates = yield* time("update", update(batch)); // epochs × minibatches
    const klCoefficient = yield* adaptKl(judged.meanKl, prompts.length); // KL to the reference, not PPO's approxKl
    return report(batch, { klCoefficient, ...updates }, seconds);
  },
  Effect.scoped, // every tensor above is freed here
  Effect.uninterruptible,
);

/** Moves the controller and counts the iteration; the result is the β that this iteration was rewarded with. */
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

/** Means over the sequences of the batch, besides what the update measured; rates are in response tokens. */
function report(
  batch: PpoRollout & Rewards & Estimates,
  updates: Readonly<Record<string, number>> & { readonly klCoefficient: number },
  seconds: Readonly<Record<string, number>>,
): PpoReport {
  const { episodes, scores, sequenceKl, meanKl } = batch;
  const mean = (values: ReadonlyArray<number>) =>
    values.reduce((sum, value) => sum + value, 0) / episodes.length;
  const score = mean([...scores]);
  const responseLength = mean(episodes.map(({ response }) => response.tokens.length));
  const rates = Object.entries(seconds).map(([phase, duration]) => [
    `${phase}TokensPerSecond`,
    (responseLength * episodes.length) / Math.max(duration, 1e-9),
  ]);
  return {
    metrics: {
      score,
      rlhfReward: score - updates.klCoefficient * meanKl,
      kl: meanKl,
      eosRate: mean(episodes.map(({ response }) => (response.finished ? 1 : 0))),
      responseLength,
      ...updates,
      explainedVariance: batch.explainedVariance,
      samplingGap: batch.samplingGap,
      ...Object.fromEntries(rates),
    },
    episodes,
    scores,
    sequenceKl,
  };
}
