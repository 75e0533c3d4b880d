import type { Tokens } from "@rlhf/core/records";
import type { Model } from "@rlhf/transformer";
import type { Finding } from "./finding.ts";
import { largestGap, logProbsOf } from "./log_probs_of.ts";

/** Kernels may round a row differently in another batch; what this looks for is far larger. */
export const tolerance = 1e-3;

/**
 * Whether a sequence gets the same log-probabilities alone, padded, and beside others: if it does not, padding is seen,
 * and every loss depends on what a batch happens to hold.
 */
export async function invariance(
  model: Model,
  sequences: ReadonlyArray<Tokens>,
  padId: number,
): Promise<Finding> {
  const { contextLength } = model.config;
  const together = await logProbsOf(model, sequences, { padId, length: contextLength });
  let gap = 0;
  for (const [i, tokens] of sequences.entries()) {
    const [alone] = await logProbsOf(model, [tokens], { padId, length: tokens.length });
    gap = Math.max(gap, largestGap(alone!, together[i]!));
  }
  return {
    check: "padding and batch",
    passed: gap <= tolerance,
    found: `log-probabilities alone and padded in a batch of ${sequences.length} differ by ${gap.toExponential(1)}`,
    remedy:
      "positions and attention must leave padding out: compare the checkpoint's config.json with its source",
  };
}
