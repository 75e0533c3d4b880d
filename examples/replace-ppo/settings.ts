import type { Config } from "../instructgpt-repro/config.ts";
import type { Fields } from "../instructgpt-repro/flags.ts";
import { presets } from "../instructgpt-repro/presets.ts";

type Parts = { readonly [part: string]: Fields };
const smoke: Fields = presets.smoke!;
const { pretrain, sft, comparing, ppo } = smoke as Parts;

/** Settings of the shared stages where no run is given: those of instructgpt-repro, and a smoke preset for a test of seconds. */
export const sharedPresets = {
  laptop: presets.laptop!,
  smoke: {
    ...smoke,
    tasks: { demonstrations: 60, validation: 10, prompts: 40, evaluation: 20 },
    pretrain: { ...pretrain, steps: 6, warmupSteps: 2, evaluateEvery: 6 },
    sft: { ...sft, epochs: 1 },
    comparing: { ...comparing, prompts: 12, most: 4 },
    ppo: { ...ppo, maxNewTokens: 12 },
  },
} as const satisfies Readonly<Record<string, Fields>>;

/**
 * The settings with one KL budget for everyone: the run's own, else the KL that its controller aims at. Whoever's samples
 * reach it stops.
 */
export function withBudget(config: Config): Config {
  const { klBudget, klControl } = config.ppo;
  const unlessGiven = klControl._tag === "Adaptive" ? klControl.target : 6; // Ziegler et al. 2019, the target for text continuation
  return { ...config, ppo: { ...config.ppo, klBudget: klBudget ?? unlessGiven } };
}
