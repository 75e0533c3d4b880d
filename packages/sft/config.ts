import { Count, Positive, Share, setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** Settings of supervised fine-tuning. Defaults are InstructGPT's (Ouyang et al. 2022, arXiv:2203.02155) where it states them. */
export const SftConfig = Schema.Struct({
  epochs: setting(Count, 16, "Passes over the demonstrations. InstructGPT C.1: 16; the best epoch is kept"),
  batchSize: setting(Count, 32, "Demonstrations per optimizer step. InstructGPT C.1: 32"),
  microBatchSize: setting(
    Count,
    8,
    "Packed rows per forward pass; limits memory, does not change the result",
  ),
  learningRate: setting(Positive, 9.65e-6, "Peak learning rate η. InstructGPT C.1: 9.65e-6 for 1.3B and 6B"),
  floorShare: setting(Share, 0.1, "Last learning rate as a share of the peak, cosine. InstructGPT C.1: 0.1"),
  dropout: setting(Share.check(Schema.isLessThan(1)), 0.2, "Rate of residual dropout. InstructGPT C.1: 0.2"),
  maxGradNorm: setting(
    Positive,
    1,
    "Limit on the global gradient norm. GPT-3 (arXiv:2005.14165, appendix B): 1",
  ),
});
export type SftConfig = typeof SftConfig.Type;
