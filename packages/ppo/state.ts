import type { KlController } from "@rlhf/kl";
import { type AdamwState, disposeAdamw, initAdamw, type Memory } from "@rlhf/optim";
import {
  cloneModel,
  cloneScalarModel,
  disposeModel,
  disposeScalarModel,
  type Model,
  type ScalarModel,
} from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
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

/** All of a state, for the run's checkpoints. */
export function memoryOf(state: Ref.Ref<PpoState>, gathered?: Memory["values"]): Memory {
  const now = Ref.getUnsafe(state);
  return {
    variables: {
      policy: now.policy.params,
      averagedPolicy: now.averagedPolicy.params,
      critic: now.critic.params,
    },
    optimizers: { policyOptimizer: now.policyOptimizer, criticOptimizer: now.criticOptimizer },
    values: {
      save: () => {
        const { iteration, klController } = Ref.getUnsafe(state);
        return { iteration, klController, gathered: gathered?.save() };
      },
      restore: (saved: Pick<PpoState, "iteration" | "klController"> & { readonly gathered?: unknown }) => {
        const { iteration, klController } = saved;
        Effect.runSync(Ref.update(state, (before) => ({ ...before, iteration, klController })));
        gathered?.restore(saved.gathered as never);
      },
    },
  };
}

export function disposeState(state: PpoState): void {
  disposeModel(state.policy);
  disposeModel(state.averagedPolicy);
  disposeScalarModel(state.critic);
  disposeAdamw(state.policyOptimizer);
  disposeAdamw(state.criticOptimizer);
}
