import type { KlController } from "@rlhf/kl";
import { type AdamwState, disposeAdamw, initAdamw, type Memory } from "@rlhf/optim";
import { cloneModel, disposeModel, type Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";

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

/** All of a state, for the run's checkpoints. */
export function memoryOf(state: Ref.Ref<PolicyGradientState>): Memory {
  const { policy, optimizer } = Ref.getUnsafe(state);
  return {
    variables: { policy: policy.params },
    optimizers: { optimizer },
    values: {
      save: () => {
        const { iteration, klController } = Ref.getUnsafe(state);
        return { iteration, klController };
      },
      restore: (saved: Pick<PolicyGradientState, "iteration" | "klController">) =>
        Effect.runSync(Ref.update(state, (now) => ({ ...now, ...saved }))),
    },
  };
}
