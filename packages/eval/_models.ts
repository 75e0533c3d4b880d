import { spellOut } from "./_format.ts";

/**
 * Each model keeps one color and one line pattern through the whole report; the names are classes of the style sheet. Models
 * that are not known get the first that are free.
 */
export const looks = [
  "other1",
  "other2",
  "other3",
  "other4",
  "other5",
  "other6",
  "sft",
  "reward",
  "ppo",
  "ptx",
  "base",
] as const;
export type Look = (typeof looks)[number];

const known: Readonly<Record<string, { readonly label: string; readonly look: Look }>> = {
  base: { label: "Base", look: "base" },
  pretrain: { label: "Pretraining", look: "base" },
  pretrained: { label: "Pretrained", look: "base" },
  sft: { label: "SFT", look: "sft" },
  reward: { label: "Reward model", look: "reward" },
  ppo: { label: "PPO", look: "ppo" },
  "ppo-ptx": { label: "PPO-ptx", look: "ptx" },
  "best-of-n": { label: "Best of n", look: "other1" },
  "expert-iteration": { label: "Expert iteration", look: "other1" },
  grpo: { label: "GRPO", look: "other2" },
  rloo: { label: "RLOO", look: "other3" },
  dpo: { label: "DPO", look: "other4" },
  "dpo-online": { label: "Online DPO", look: "other5" },
  reinforce: { label: "REINFORCE", look: "other6" },
};

const spelling = (name: string) => name.toLowerCase().replace(/[\s_]+/g, "-");

/** The name of a model or stage as people write it: `ppo-ptx` → `PPO-ptx`. */
export function labelOf(name: string): string {
  return known[spelling(name)]?.label ?? (/^[a-z]/.test(name) ? spellOut(name) : name);
}

/** Looks for the names of one chart. */
export function looksOf(names: ReadonlyArray<string>): ReadonlyMap<string, Look> {
  const chosen = new Map<string, Look>();
  const taken = new Set(names.flatMap((name) => known[spelling(name)]?.look ?? []));
  const free = looks.filter((look) => !taken.has(look));
  for (const name of new Set(names)) {
    chosen.set(name, known[spelling(name)]?.look ?? free.shift() ?? "base");
  }
  return chosen;
}
