import type { TokenBatch } from "@rlhf/data/token_batch";
import { totalLoss } from "@rlhf/optim";
import { type ForwardOptions, type Model, nextTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { countTokens, lossesOf, type Prediction } from "./_prediction.ts";

export interface CrossEntropy {
  /** Mean of `−log p` over the tokens that the batches' `lossMask` marks, in nats per token. */
  readonly crossEntropy: number;
  /** e to the power of the cross-entropy. */
  readonly perplexity: number;
  /** The denominator. */
  readonly tokens: number;
}

/**
 * How well a causal model predicts text, without dropout: `H = −1/N Σ log p(xₜ | x₍<ₜ₎)`. Measured before and after reinforcement
 * learning on the same text it shows an alignment tax.
 */
export const crossEntropy = Effect.fn("pretrain.crossEntropy")(function* (
  model: Model,
  batches: ReadonlyArray<TokenBatch>,
) {
  const predictions = batches.map((batch) => nextTokens(model, batch));
  const mean = yield* totalLoss(lossesOf(predictions));
  return {
    crossEntropy: mean,
    perplexity: Math.exp(mean),
    tokens: countTokens(predictions),
  } satisfies CrossEntropy;
});

export function nextTokens(model: Model, batch: TokenBatch, options: ForwardOptions = {}): Prediction {
  return { batch, logProbs: () => nextTokenLogProbs(model, toSequences(batch), options).logProbs };
}
