import type { KlController } from "@rlhf/kl";
import { type AdamwState, disposeAdamw, initAdamw } from "@rlhf/optim";
import {
  cloneModel,
  cloneScalarModel,
  disposeModel,
  disposeScalarModel,
  type Model,
  type ScalarModel,
} from "@rlhf/transformer";
import type { PpoConfig } from "./config.ts";

/**
 * Everything that PPO remembers from one iteration to the next. Random numbers are a function of the run's key and
 * `iteration`, so a run that is resumed from this record does what the uninterrupted one would have done.
 */
export interface PpoState {
  /** Iterations done. */
  readonly iteration: number;
  readonly policy: Model;
  readonly policyOptimizer: AdamwState;
  /** The policy with averaged weights: the model to evaluate and to release. */
  readonly averagedPolicy: Model;
  readonly critic: ScalarModel;
  readonly criticOptimizer: AdamwState;
  readonly klController: KlController;
}

/**
 * The state before the first iteration: copies of the policy and, as value network, of the reward model (Ouyang et
 * al. 2022, appendix C.4). The models given are left alone. Free it with {@link disposeState}.
 */
export function initState({
  policy,
  rewardModel,
  config,
}: {
  readonly policy: Model;
  readonly rewardModel: ScalarModel;
  readonly config: PpoConfig;
}): PpoState {
  const [trained, critic] = [cloneModel(policy), cloneScalarModel(rewardModel)];
  return {
    iteration: 0,
    policy: trained,
    policyOptimizer: initAdamw(trained.params),
    averagedPolicy: cloneModel(policy),
    critic,
    criticOptimizer: initAdamw(critic.params),
    klController: config.klControl,
  };
}

export function disposeState(state: PpoState): void {
  disposeModel(state.policy);
  disposeModel(state.averagedPolicy);
  disposeScalarModel(state.critic);
  disposeAdamw(state.policyOptimizer);
  disposeAdamw(state.criticOptimizer);
}
