import { Count, Positive } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** A low-rank adapter (Hu et al. 2021, arXiv:2106.09685), with PEFT's names in brackets. */
export const LoraConfig = Schema.Struct({
  /** [r] */
  rank: Count,
  /** [lora_alpha] What the adapter adds is scaled by alpha / rank. */
  alpha: Positive,
  /** [lora_dropout] Share of the adapter's inputs that a training pass with dropout sets to 0. */
  dropout: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0), Schema.isLessThan(1)),
  /** [target_modules] The last parts of their names: `q_proj`, `c_attn`, … */
  targetModules: Schema.Array(Schema.String).check(Schema.isNonEmpty()),
});
export type LoraConfig = typeof LoraConfig.Type;
