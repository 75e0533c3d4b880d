import { Count, Positive, Share, setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** Settings of reward-model training. Defaults are InstructGPT's (Ouyang et al. 2022, arXiv:2203.02155) where it states them. */
export const RewardConfig = Schema.Struct({
  epochs: setting(Count, 1, "Passes over the rankings. InstructGPT C.2: 1; more overfits"),
  batchSize: setting(
    Count,
    64,
    "Prompts per optimizer step, each with all its responses. InstructGPT C.2: 64",
  ),
  microBatchSize: setting(Count, 8, "Prompts per forward pass; limits memory, does not change the result"),
  learningRate: setting(Positive, 9e-6, "Peak learning rate η. InstructGPT C.2: 9e-6 for the 6B model"),
  floorShare: setting(Share, 0.1, "Last learning rate as a share of the peak, cosine. InstructGPT C.2: 0.1"),
  maxGradNorm: setting(
    Positive,
    1,
    "Limit on the global gradient norm. GPT-3 (arXiv:2005.14165, appendix B): 1",
  ),
});
export type RewardConfig = typeof RewardConfig.Type;
