/** PPO with pretraining gradients mixed in, InstructGPT's own choice. */
import { Effect } from "effect";
import { reinforce } from "../instructgpt-repro/reinforce.ts";
import type { Optimize } from "./last_stage.ts";
import { lastWeights } from "./ppo.ts";

export const optimize: Optimize = (stage) =>
  Effect.map(reinforce({ ...stage, gold: [], config: lastWeights(stage) }), ({ model }) => model);
