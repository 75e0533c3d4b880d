import type { Optimize } from "./last_stage.ts";

/** Everything that can be the last stage. To choose one in a program of your own, import its file. */
export const optimizers: Readonly<Record<string, () => Promise<{ readonly optimize: Optimize }>>> = {
  ppo: () => import("./ppo.ts"),
  "ppo-ptx": () => import("./ppo_ptx.ts"),
  rloo: () => import("./rloo.ts"),
  grpo: () => import("./grpo.ts"),
  reinforce: () => import("./reinforce.ts"),
  "dpo-online": () => import("./online_dpo.ts"),
  dpo: () => import("./dpo.ts"),
  "expert-iteration": () => import("./expert_iteration.ts"),
};

/** Offline training samples nothing, so no KL can stop it. */
export const withoutBudget: ReadonlySet<string> = new Set(["dpo"]);
