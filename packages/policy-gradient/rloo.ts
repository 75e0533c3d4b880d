import { setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";
import { commonSettings, dividesBatch, GroupSize, minibatchSettings } from "./_settings.ts";
import { KlControl } from "./kl_control.ts";
import { leaveOneOut } from "./leave_one_out.ts";
import type { Method } from "./method.ts";
import { sequenceSurrogate } from "./sequence_surrogate.ts";
import { type TrainOptions, train } from "./train.ts";

/** Settings of RLOO. Defaults are TRL's where Ahmadian et al. 2024 leave a choice. */
export const RlooConfig = Schema.Struct({
  ...commonSettings,
  ...minibatchSettings,
  groupSize: setting(
    GroupSize,
    4,
    "k, responses to each prompt, divides batchSize. Ahmadian et al.: 2 and 4",
  ),
  klControl: setting(KlControl, { _tag: "Fixed", coefficient: 0.05 }, "β of the KL penalty. TRL: 0.05"),
}).check(dividesBatch("groupSize", "minibatchSize"));
export type RlooConfig = typeof RlooConfig.Type;

/**
 * RLOO (Ahmadian et al. 2024, arXiv:2402.14740): k responses to each prompt, each against the mean of the others, KL
 * penalty in the reward, a whole response as one action.
 */
export function rloo(config: RlooConfig): Method {
  const { groupSize, minibatchSize, epochs, clipRange } = config;
  return {
    name: "rloo",
    config,
    groupSize,
    minibatchSize,
    epochs,
    klController: config.klControl,
    klPenalty: "score",
    advantages: (rewards) => leaveOneOut({ rewards, groupSize }),
    loss: ({ whole, ...batch }) => {
      const denominator = whole.sequences;
      const { loss, clipFraction, approxKl } = sequenceSurrogate({ ...batch, clipRange, denominator });
      return { loss, metrics: { clipFraction, approxKl } };
    },
  };
}

/** {@link train} with {@link rloo}. */
export const trainRloo = <E = never, R = never>(options: TrainOptions<RlooConfig, E, R>) =>
  train(rloo(options.config), options);
