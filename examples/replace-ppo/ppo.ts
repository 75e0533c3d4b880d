/** PPO with a value network, as `examples/instructgpt-repro` runs it, but for {@link lastWeights}. */
import { Effect } from "effect";
import { reinforce } from "../instructgpt-repro/reinforce.ts";
import type { LastStage, Optimize } from "./last_stage.ts";

/**
 * The last weights rather than their average, as from the others: training ends at the KL budget, after few iterations, and an
 * average would still be near its start.
 */
export const lastWeights = ({ config }: LastStage) => ({ ...config.ppo, emaDecay: 0 });

export const optimize: Optimize = (stage) =>
  Effect.map(
    reinforce({ ...stage, gold: [], config: { ...lastWeights(stage), ptxCoefficient: 0 } }),
    ({ model }) => model,
  );
