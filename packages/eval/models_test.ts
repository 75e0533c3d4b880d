import { expect, it } from "vitest";
import { labelOf, looksOf } from "./_models.ts";

it("gives every model of a comparison a look of its own", () => {
  const names = ["sft", "ppo", "ppo-ptx", "rloo", "grpo", "reinforce", "dpo", "dpo-online", "best-of-n", "x"];
  const looks = looksOf(names);
  expect([...looks.keys()]).toEqual(names);
  expect(new Set(looks.values()).size).toBe(names.length);
});

it("writes names as people do", () => {
  expect(["ppo-ptx", "dpo-online", "reinforce", "my_model"].map(labelOf)).toEqual([
    "PPO-ptx",
    "Online DPO",
    "REINFORCE",
    "My model",
  ]);
});
