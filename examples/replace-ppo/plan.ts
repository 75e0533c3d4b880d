import type { StageMemory } from "@rlhf/transformer";
import { planOf, type StagePlan } from "../instructgpt-repro/plan.ts";
import type { Setting } from "../instructgpt-repro/setting.ts";
import { candidates } from "./expert_iteration.ts";
import type { Flags } from "./flags.ts";

/**
 * What is going to be done: the stages before the last as `instructgpt-repro` plans them, unless they are trained already, and
 * every optimizer with all its seeds. The KL budget may end an optimizer sooner.
 */
export function plansOf(
  { config, encoded, base }: Pick<Setting, "config" | "encoded" | "base">,
  { optimizers, seeds }: Pick<Flags, "optimizers" | "seeds">,
  trained: boolean,
): ReadonlyArray<StagePlan> {
  const stages = planOf({ ...config, rounds: 1 }, { model: base.config, encoded, ownComparisons: false });
  const shared = stages.filter(({ stage }) => !stage.startsWith("ppo"));
  const [ppo, reward] = [stages.at(-1)!, shared.at(-1)!];
  const episodes = ppo.trained - ppo.valued; // tokens that a policy alone is trained on
  const passes = ppo.scored / 4; // by the policy, its reference, the reward model and the value network
  const policyOnly = { trained: episodes, valued: 0, scored: 3 * passes, memory: holding(ppo.memory, 3, 1) };
  const epoch = reward.trained / config.reward.epochs;
  const different: Readonly<Record<string, Partial<StagePlan>>> = {
    ppo: { memory: holding(ppo.memory, 5, 2) },
    "ppo-ptx": { ...stages.at(-2)!, memory: holding(stages.at(-2)!.memory, 5, 2) },
    dpo: {
      trained: epoch,
      valued: 0,
      scored: epoch,
      sampled: 0,
      steps: reward.steps / config.reward.epochs,
      memory: holding(ppo.memory, 2, 1),
    },
    "expert-iteration": {
      ...policyOnly,
      trained: episodes / candidates,
      scored: passes,
      steps: Math.ceil((config.ppo.iterations * config.ppo.batchSize) / (candidates * config.sft.batchSize)),
    },
  };
  const plans = optimizers.map((name) => ({ ...ppo, ...(different[name] ?? policyOnly), stage: name }));
  return [...(trained ? [] : shared), ...plans.map((plan) => repeated(plan, seeds.length))];
}

/** A process with so many networks, of which some are trained. PPO's: policy, value network, average, reference, reward model. */
function holding(ppo: StageMemory, networks: number, trained: number): StageMemory {
  const network = ppo.optimizer / 4; // two moments of two networks
  const [weights, optimizer] = [networks * network, 2 * trained * network];
  return { ...ppo, weights, optimizer, total: ppo.total - ppo.weights - ppo.optimizer + weights + optimizer };
}

function repeated(plan: StagePlan, seeds: number): StagePlan {
  const { stage, steps, trained, valued, scored, sampled } = plan;
  return {
    ...plan,
    stage: seeds === 1 ? stage : `${stage}, ${seeds} seeds`,
    steps: steps * seeds,
    trained: trained * seeds,
    valued: valued * seeds,
    scored: scored * seeds,
    sampled: sampled * seeds,
  };
}
