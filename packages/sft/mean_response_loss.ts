import type { TokenBatch } from "@rlhf/data/token_batch";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { responseLoss, responseTokens } from "./response_loss.ts";

/** The loss over all batches together, without dropout, one batch at a time. */
export const meanResponseLoss = Effect.fn("sft.meanResponseLoss")(function* (
  model: Model,
  batches: ReadonlyArray<TokenBatch>,
) {
  const tokens = responseTokens(batches);
  let mean = 0;
  for (const batch of batches) {
    const part = responseLoss(model, batch, { tokens });
    const read = Effect.promise(() => part.data());
    mean += (yield* Effect.ensuring(
      read,
      Effect.sync(() => part.dispose()),
    ))[0]!;
  }
  return mean;
});
