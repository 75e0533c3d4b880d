import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { padRight } from "@rlhf/data/token_batch";
import { type ForwardOptions, type Model, maskedTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { fit } from "./_fit.ts";
import type { Prediction } from "./_prediction.ts";
import type { PretrainConfig } from "./config.ts";
import { type MaskedTokens, maskTokens } from "./masked_lm.ts";

export interface PretrainMaskedInput {
  /** A `masked-lm` or `bert`, trained in place; of one with an adapter the adapter alone. */
  readonly model: Model;
  /** Texts of at most the model's context. */
  readonly sequences: ReadonlyArray<Tokens>;
  /** Other texts, to measure with. The same of their tokens are hidden every time. */
  readonly validation: ReadonlyArray<Tokens>;
  /** Id of the mask token. */
  readonly mask: number;
  /** Ids that are never hidden, such as end-of-sequence. */
  readonly special?: ReadonlyArray<number>;
  readonly config: PretrainConfig;
  readonly key: Key;
}

/**
 * Pretrains a masked language model as BERT (Devlin et al. 2019, arXiv:1810.04805), without its next-sentence
 * task: see {@link maskTokens}. Otherwise like {@link pretrain}.
 *
 * Fails with InvalidInput when there is no sequence or one is longer than the context, and with NonFiniteLoss when training
 * diverges; the model then has the weights before the step.
 */
export const pretrainMasked = Effect.fn("pretrain.masked")(function* ({
  model,
  sequences,
  validation,
  mask,
  special = [],
  config,
  key,
}: PretrainMaskedInput) {
  const { vocabSize } = model.config;
  const validationLoss = yield* fit({
    stage: "pretrain-masked",
    model,
    rows: sequences,
    validation,
    config,
    key,
    example: (tokens, key) => maskTokens(tokens, { key, mask, vocabSize, special }),
    predict: (examples, options) => maskedTokens(model, examples, options),
  });
  return { model, validationLoss };
});

function maskedTokens(
  model: Model,
  examples: ReadonlyArray<MaskedTokens>,
  options: ForwardOptions,
): Prediction {
  // Any id will do for padding: no token sees it.
  const padding = { padId: 0, atMost: model.config.contextLength };
  const batch = padRight(examples, padding);
  const targets = padRight(
    examples.map(({ targets }) => ({ tokens: targets })),
    padding,
  );
  return {
    batch,
    logProbs: () =>
      maskedTokenLogProbs(model, toSequences(batch), toSequences(targets).ids, options).logProbs,
  };
}
