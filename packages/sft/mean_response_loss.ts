import type { TokenBatch } from "@rlhf/data/token_batch";
import { totalLoss } from "@rlhf/optim";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { responseLoss, responseTokens } from "./response_loss.ts";

/** The loss over all batches together, without dropout, one batch at a time. */
export const meanResponseLoss = Effect.fn("sft.meanResponseLoss")(
  (model: Model, batches: ReadonlyArray<TokenBatch>) => {
    const tokens = responseTokens(batches);
    return totalLoss(batches.map((batch) => () => responseLoss(model, batch, { tokens })));
  },
);
