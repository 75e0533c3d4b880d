import { setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";
import { commonSettings, GroupSize } from "./_settings.ts";
import { KlControl } from "./kl_control.ts";
import { leaveOneOut } from "./leave_one_out.ts";
import type { Method } from "./method.ts";
import { reinforceLoss } from "./reinforce_loss.ts";
import { type TrainOptions, train } from "./train.ts";

/** Settings of REINFORCE. An iteration is one optimizer step: its gradient holds only for the policy that sampled. */
export const ReinforceConfig = Schema.Struct({
  ...commonSettings,
  batchSize: setting(GroupSize, 512, "Episodes per iteration and optimizer step. InstructGPT: 512"),
  klControl: setting(
    KlControl,
    { _tag: "Fixed", coefficient: 0.05 },
    "β of the KL penalty. TRL's RLOO: 0.05",
  ),
});
export type ReinforceConfig = typeof ReinforceConfig.Type;

/**
 * REINFORCE with the mean reward of the batch's other episodes as baseline (Williams 1992): one response to each
 * prompt, KL penalty in the reward, a whole response as one action.
 */
export function reinforce(config: ReinforceConfig): Method {
  return {
    name: "reinforce",
    config,
    groupSize: 1,
    minibatchSize: config.batchSize,
    epochs: 1,
    klController: config.klControl,
    klPenalty: "score",
    advantages: (rewards) => leaveOneOut({ rewards, groupSize: rewards.size }),
    loss: ({ whole, ...batch }) => ({
      loss: reinforceLoss({ ...batch, denominator: whole.sequences }),
      metrics: {},
    }),
  };
}

/** {@link train} with {@link reinforce}. */
export const trainReinforce = <E = never, R = never>(options: TrainOptions<ReinforceConfig, E, R>) =>
  train(reinforce(options.config), options);
