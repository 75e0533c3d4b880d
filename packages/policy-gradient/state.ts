import type { KlController } from "@rlhf/kl";
import { type AdamwState, disposeAdamw, initAdamw } from "@rlhf/optim";
import { cloneModel, disposeModel, type Model } from "@rlhf/transformer";

/**
 * Everything that a run remembers from one iteration to the next. Random numbers are a function of the run's key and
 * `iteration`, so a run that goes on from this record does what the uninterrupted one would have done.
 */
export interface PolicyGradientState {
  /** Iterations done. */
  readonly iteration: number;
  readonly policy: Model;
  readonly optimizer: AdamwState;
  readonly klController: KlController;
}

/** The state before the first iteration, with a copy of the policy. Free it with {@link disposeState}. */
export function initState(policy: Model, config: { readonly klControl: KlController }): PolicyGradientState {
  const trained = cloneModel(policy);
  return {
    iteration: 0,
    policy: trained,
    optimizer: initAdamw(trained.params),
    klController: config.klControl,
  };
}

export function disposeState(state: PolicyGradientState): void {
  disposeModel(state.policy);
  disposeAdamw(state.optimizer);
}
