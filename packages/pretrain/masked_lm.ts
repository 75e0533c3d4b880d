import { fold, integers, type Key, shuffled, uniforms } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";

/** A sequence with some tokens hidden: what the model sees, what it should say, and where (1) it is asked. */
export interface MaskedTokens {
  readonly tokens: Tokens;
  readonly targets: Tokens;
  readonly lossMask: ReadonlyArray<number>;
}

/**
 * Chooses 15 % of the tokens (at least one) to be predicted from both sides. Of the chosen ones 80 % become the mask, 10 % a
 * random token and 10 % stay as they are, so that a model cannot rely on seeing the mask.
 *
 * Devlin et al. 2019 (BERT), arXiv:1810.04805, section 3.1. Where BERT hides the same tokens in every epoch, here every
 * key hides others, as in RoBERTa (Liu et al. 2019, arXiv:1907.11692).
 *
 * @param mask id of the mask token
 * @param vocabSize random tokens are drawn from 0 … vocabSize − 1
 * @param special ids that are never chosen, such as end-of-sequence
 */
export function maskTokens(
  tokens: Tokens,
  {
    key,
    mask,
    vocabSize,
    special = [],
  }: {
    readonly key: Key;
    readonly mask: number;
    readonly vocabSize: number;
    readonly special?: ReadonlyArray<number>;
  },
): MaskedTokens {
  const eligible = Array.from(tokens.keys()).filter((place) => !special.includes(tokens[place]!));
  const count = Math.max(1, Math.round(0.15 * eligible.length));
  const chosen = shuffled(fold(key, "choice"), eligible).slice(0, count);
  const fates = uniforms(fold(key, "fate"), chosen.length);
  const strangers = integers(fold(key, "stranger"), chosen.length, vocabSize);
  const corrupted = [...tokens];
  const lossMask = tokens.map(() => 0);
  for (const [i, place] of chosen.entries()) {
    lossMask[place] = 1;
    if (fates[i]! < 0.8) corrupted[place] = mask;
    else if (fates[i]! < 0.9) corrupted[place] = strangers[i]!;
  }
  return { tokens: corrupted, targets: tokens, lossMask };
}
