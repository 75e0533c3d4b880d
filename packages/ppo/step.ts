import { type OnlineReport, onlineReport, stopwatch } from "@rlhf/bandit-env";
import type { EncodedPrompt } from "@rlhf/core/records";
import { updateKlController } from "@rlhf/kl";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { estimate } from "./estimate.ts";
import { judge } from "./judge.ts";
import { rolloutPrompts } from "./rollout_prompts.ts";
import { Learner } from "./services.ts";
import { update } from "./update.ts";

/** What an iteration reports. */
export type PpoReport = OnlineReport;

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
    const { explainedVariance } = batch;
    const updates = { ...(yield* time("update", update(batch))), explainedVariance }; // epochs × minibatches
    const klCoefficient = yield* adaptKl(judged.meanKl, prompts.length); // KL to the reference, not PPO's approxKl
    return onlineReport({ batch, klCoefficient, updates, seconds });
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
