import type { Key } from "@rlhf/core/random";
import { fold } from "@rlhf/core/random";
import { bootstrap } from "./bootstrap.ts";
import type { Interval } from "./interval.ts";

/** What a model paid for alignment on one corpus. */
export interface AlignmentTaxRow {
  readonly model: string;
  /** Mean next-token loss in nats per token. */
  readonly crossEntropy: number;
  readonly perplexity: number;
  /** Cross-entropy above the base model's, in nats per token, with a 95 % interval: the alignment tax. */
  readonly tax: Interval;
}

/**
 * Cross-entropy of every model on the same held-out documents, before and after alignment. Ouyang et al. 2022
 * (section 4.2) see the tax in task scores; for models too small for those tasks the loss on pretraining text shows it.
 *
 * tax = (Σ nats of the model − Σ nats of the base) / Σ tokens, its interval from a bootstrap over documents, the same
 * documents for both models.
 *
 * @param tokens predicted tokens of each document, `[document]`
 * @param base summed loss of the base model on each document in nats, `[document]`
 * @param models the same for every other model, by name
 */
export function alignmentTax(options: {
  readonly tokens: ReadonlyArray<number>;
  readonly base: ReadonlyArray<number>;
  readonly models: Readonly<Record<string, ReadonlyArray<number>>>;
  readonly key: Key;
  readonly resamples?: number;
}): ReadonlyArray<AlignmentTaxRow> {
  const { tokens, base, key, ...rest } = options;
  const total = sum(tokens);
  return Object.entries({ base, ...options.models }).map(([model, nats]) => {
    if (nats.length !== tokens.length) {
      throw new RangeError(
        `Cannot compute the alignment tax: ${model} must have a loss for each of the ${tokens.length} documents, got ${nats.length}`,
      );
    }
    const crossEntropy = sum(nats) / total;
    const tax = bootstrap({
      clusters: tokens.map((count, i) => [{ count, extra: nats[i]! - base[i]! }]),
      statistic: (documents) =>
        sum(documents.map(({ extra }) => extra)) / sum(documents.map(({ count }) => count)),
      key: fold(key, model),
      ...rest,
    });
    return { model, crossEntropy, perplexity: Math.exp(crossEntropy), tax };
  });
}

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0);
