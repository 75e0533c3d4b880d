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

/** The model of a name, and what follows it in brackets: `ppo (round 2)` → `ppo`, ` (round 2)`. */
function parts(name: string) {
  const [, model = name, suffix = ""] = /^(.*?)(\s*\(.*\))?$/s.exec(name) ?? [];
  return { model: known[model.toLowerCase().replace(/[\s_]+/g, "-")], suffix };
}

/** The name of a model or stage as people write it: `ppo-ptx` → `PPO-ptx`. */
export function labelOf(name: string): string {
  const { model, suffix } = parts(name);
  if (model !== undefined) return model.label + suffix;
  return /^[a-z]/.test(name) ? spellOut(name) : name;
}

/**
 * Looks for the names of one chart. Of the rounds of a model the last has the model's own, for it is what the rest of the
 * report is about; names that are not known, or come too late, get the free looks in turn.
 */
export function looksOf(names: ReadonlyArray<string>): ReadonlyMap<string, Look> {
  const all = [...new Set(names)];
  const owners = new Map<Look, string>();
  for (const name of all) {
    const { model, suffix } = parts(name);
    if (model !== undefined && (suffix !== "" || !owners.has(model.look))) owners.set(model.look, name);
  }
  const rest = looks.filter((look) => !owners.has(look));
  const owned = new Map([...owners].map(([look, name]) => [name, look]));
  return new Map(all.map((name) => [name, owned.get(name) ?? rest.shift() ?? "base"]));
}
