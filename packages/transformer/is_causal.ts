import type { TransformerConfig } from "./config.ts";

/** Whether a token sees only itself and what came before, so that the model can generate. */
export function isCausal({ architecture }: Pick<TransformerConfig, "architecture">): boolean {
  return architecture !== "masked-lm" && architecture !== "bert";
}
