import { setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";
import { commonSettings, dividesBatch, GroupSize, minibatchSettings } from "./_settings.ts";
import { groupAdvantages } from "./group_advantages.ts";
import { grpoLoss } from "./grpo_loss.ts";
import { KlControl } from "./kl_control.ts";
import type { Method } from "./method.ts";
import { type TrainOptions, train } from "./train.ts";

/** Settings of GRPO. Defaults are DeepSeekMath's (Shao et al. 2024, section 4.2) where it states them. */
export const GrpoConfig = Schema.Struct({
  ...commonSettings,
  ...minibatchSettings,
  groupSize: setting(GroupSize, 8, "Responses to each prompt, divides batchSize. TRL: 8. DeepSeekMath: 64"),
  advantageScale: setting(
    Schema.Literals(["deviation", "none"]),
    "deviation",
    "What a group's advantages are divided by. GRPO: deviation. Dr. GRPO: none",
  ),
  tokenWeight: setting(
    Schema.Literals(["sequence", "token", "constant"]),
    "sequence",
    "What a token counts: 1/its sequence's length, 1/all tokens, 1/maxNewTokens. GRPO: sequence. DAPO: token. Dr. GRPO: constant",
  ),
  klControl: setting(
    KlControl,
    { _tag: "Fixed", coefficient: 0.04 },
    "β of the KL term of the loss. DeepSeekMath: 0.04",
  ),
}).check(dividesBatch("groupSize", "minibatchSize"));
export type GrpoConfig = typeof GrpoConfig.Type;

/**
 * GRPO (Shao et al. 2024, arXiv:2402.03300): several responses to each prompt, rewards relative to the group, clipped
 * surrogate per token, k3 to the reference in the loss. With `advantageScale: "none"` and `tokenWeight: "constant"`
 * it is Dr. GRPO (Liu et al. 2025, arXiv:2503.20783).
 */
export function grpo(config: GrpoConfig): Method {
  const { groupSize, minibatchSize, epochs, clipRange, advantageScale: scale, tokenWeight } = config;
  return {
    name: "grpo",
    config,
    groupSize,
    minibatchSize,
    epochs,
    klController: config.klControl,
    klPenalty: "loss",
    advantages: (rewards) => groupAdvantages({ rewards, groupSize, scale }),
    loss: (batch) => {
      const maxLength = config.maxNewTokens;
      const { loss, clipFraction, approxKl, lossKl } = grpoLoss({
        ...batch,
        clipRange,
        tokenWeight,
        maxLength,
      });
      return { loss, metrics: { clipFraction, approxKl, lossKl } };
    },
  };
}

/** {@link train} with {@link grpo}. */
export const trainGrpo = <E = never, R = never>(options: TrainOptions<GrpoConfig, E, R>) =>
  train(grpo(options.config), options);
