import type { Episode } from "@rlhf/bandit-env";
import type { EncodedPrompt } from "@rlhf/core/records";
import { updateKlController } from "@rlhf/kl";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { type Estimates, estimate } from "./estimate.ts";
import { judge, type Rewards } from "./judge.ts";
import { type PpoRollout, rolloutPrompts } from "./rollout_prompts.ts";
import { Learner } from "./services.ts";
import { type UpdateStats, update } from "./update.ts";

/** What an iteration reports; nothing in it needs the Scope. */
export interface PpoReport {
  readonly metrics: Readonly<Record<string, number>>;
  readonly episodes: ReadonlyArray<Episode>;
  readonly scores: Float32Array;
  readonly sequenceKl: Float32Array;
}

/** One PPO iteration (Ziegler et al. 2019; Ouyang et al. 2022, appendix C.4). */
export const step = Effect.fn("ppo.step")(function* (prompts: ReadonlyArray<EncodedPrompt>) {
  const rollout = yield* rolloutPrompts(prompts); // tokens, mask, oldLogProbs
  const judged = yield* judge(rollout); // + refLogProbs, scores, rewards
  const batch = yield* estimate(judged); // + values, advantages, returns
  const stats = yield* update(batch); // epochs × minibatches
  const klCoefficient = yield* adaptKl(judged.meanKl, prompts.length); // KL to the reference, not PPO's approxKl
  return report(batch, stats, klCoefficient);
}, Effect.scoped); // every tensor above is freed here

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

/** Means are over the sequences of the batch, those of the update over its optimizer steps. */
function report(
  batch: PpoRollout & Rewards & Estimates,
  { metrics, updateSeconds }: UpdateStats,
  klCoefficient: number,
): PpoReport {
  const { episodes, scores, sequenceKl, meanKl } = batch;
  const mean = (values: ReadonlyArray<number>) =>
    values.reduce((sum, value) => sum + value, 0) / episodes.length;
  const score = mean([...scores]);
  const responseLength = mean(episodes.map(({ response }) => response.tokens.length));
  const perSecond = (seconds: number) => (responseLength * episodes.length) / Math.max(seconds, 1e-9);
  return {
    metrics: {
      score,
      rlhfReward: score - klCoefficient * meanKl,
      kl: meanKl,
      klCoefficient,
      eosRate: mean(episodes.map(({ response }) => (response.finished ? 1 : 0))),
      responseLength,
      ...metrics,
      explainedVariance: batch.explainedVariance,
      samplingGap: batch.samplingGap,
      rolloutTokensPerSecond: perSecond(batch.rolloutSeconds),
      scoreTokensPerSecond: perSecond(batch.scoreSeconds),
      updateTokensPerSecond: perSecond(updateSeconds),
    },
    episodes,
    scores,
    sequenceKl,
  };
}
