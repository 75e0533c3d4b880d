import { Count, CountOrZero, Positive, Share, setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** Settings of pretraining. Defaults are GPT-3's (Brown et al. 2020, arXiv:2005.14165) where a small model can use them. */
export const PretrainConfig = Schema.Struct({
  steps: setting(Count, 1000, "Optimizer steps. A length for small models"),
  batchSize: setting(Count, 32, "Rows per optimizer step. A size for small models"),
  microBatchSize: setting(Count, 8, "Rows per forward pass; limits memory, does not change the result"),
  learningRate: setting(Positive, 6e-4, "Peak learning rate η. GPT-3 table 2.1: 6e-4 for the smallest model"),
  warmupSteps: setting(CountOrZero, 100, "Steps of linear warm-up. A tenth of the default length"),
  floorShare: setting(Share, 0.1, "Last learning rate as a share of the peak, cosine. GPT-3 appendix B: 0.1"),
  weightDecay: setting(Share, 0.1, "AdamW's λ on matrices. GPT-3 appendix B: 0.1"),
  maxGradNorm: setting(Positive, 1, "Limit on the global gradient norm. GPT-3 appendix B: 1"),
  evaluateEvery: setting(Count, 250, "Steps between validations; the last step always validates"),
});
export type PretrainConfig = typeof PretrainConfig.Type;
