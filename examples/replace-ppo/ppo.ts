/** PPO, as `examples/instructgpt-repro` runs it: a value network, and the averaged weights as the result. */
import { Effect } from "effect";
import { reinforce } from "../instructgpt-repro/reinforce.ts";
import type { Optimize } from "./last_stage.ts";

export const optimize: Optimize = (stage) =>
  Effect.map(
    reinforce({ ...stage, gold: [], config: { ...stage.config.ppo, ptxCoefficient: 0 } }),
    ({ model }) => model,
  );
