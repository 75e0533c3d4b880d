import type { Key } from "@rlhf/core/random";
import { chunkStream } from "@rlhf/data/chunk";
import { padRight } from "@rlhf/data/token_batch";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { fit } from "./_fit.ts";
import type { PretrainConfig } from "./config.ts";
import { nextTokens } from "./cross_entropy.ts";

export interface PretrainInput {
  /** A causal model, trained in place; of one with an adapter the adapter alone. */
  readonly model: Model;
  /** The text as one stream of tokens, documents separated by end-of-sequence. */
  readonly tokens: Int32Array;
  /** Other text, to measure with. */
  readonly validation: Int32Array;
  readonly config: PretrainConfig;
  readonly key: Key;
}

/**
 * Pretrains a causal model on next tokens (Radford et al. 2019, GPT-2): AdamW, linear warm-up and a cosine, rows of the
 * model's whole context in a fresh order every epoch. Every `evaluateEvery` steps and after the last one the cross-entropy of the
 * validation text is measured, in nats per token, and its perplexity.
 *
 * Fails with InvalidInput when a text has less than two tokens, and with NonFiniteLoss when training diverges; the model then has
 * the weights before the step.
 */
export const pretrain = Effect.fn("pretrain")(function* ({
  model,
  tokens,
  validation,
  config,
  key,
}: PretrainInput) {
  const length = model.config.contextLength;
  const validationLoss = yield* fit({
    stage: "pretrain",
    model,
    rows: chunkStream(tokens, { length }),
    validation: chunkStream(validation, { length }),
    config,
    key,
    example: (tokens) => ({ tokens }),
    predict: (rows, options) => nextTokens(model, padRight(rows, { padId: 0, length }), options), // no token sees padding
  });
  return { model, validationLoss };
});
