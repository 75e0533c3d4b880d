import { InvalidInput } from "@rlhf/core/errors";
import { fold, type Key } from "@rlhf/core/random";
import type { Demonstration, EncodedRanking, Ranking, Tokens } from "@rlhf/core/records";
import { encodeRankings } from "@rlhf/data";
import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { cacheAgreement } from "./cache_agreement.ts";
import type { Finding } from "./finding.ts";
import { invariance } from "./invariance.ts";
import { overfit } from "./overfit.ts";
import { phases } from "./phases.ts";
import { specialTokens } from "./special_tokens.ts";

export interface ExamineInput {
  /** A causal model; it is left as it is. */
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly rankings: ReadonlyArray<Ranking>;
  readonly key: Key;
}

/** Sequences that the quick checks look at, and how much of each. */
const sequencesLooked = 8;
const longest = 64;

/**
 * Self-tests of a model with data, in about a minute: special tokens, padding and batch, cache, speed and memory, and
 * whether 20 pairs can be learned by heart.
 *
 * Fails with `InvalidInput` when none of the rankings fits into the model's context.
 */
export const examine = Effect.fn("doctor.examine")(function* (input: ExamineInput) {
  const { model, tokenizer, rankings, key } = input;
  const { eos, pad } = tokenizer.specials;
  const { contextLength } = model.config;
  const fitting = encodeRankings(tokenizer, rankings.slice(0, 1000)).filter(
    (ranking) => lengthOf(ranking) <= contextLength,
  );
  if (fitting.length === 0) {
    const problem = `no prompt with its responses fits into the model's context of ${contextLength} tokens`;
    const remedy = "shorten them, or use a model with a longer context";
    return yield* new InvalidInput({ problems: [{ where: "rankings", problem, remedy }] });
  }
  const byLength = fitting.toSorted((a, b) => lengthOf(a) - lengthOf(b));
  const shortest = byLength.slice(0, 20);
  const limit = Math.min(longest, contextLength);
  const sequences = shortest
    .slice(0, sequencesLooked)
    .map(({ prompt, responses }): Tokens => [...prompt, ...responses[0]!].slice(0, limit));
  const prompts = sequences.map((tokens) => tokens.slice(0, Math.max(1, tokens.length >> 1)));
  const texts = rankings.slice(0, 200).flatMap(({ prompt, responses }) => [prompt, ...responses]);
  const findings: ReadonlyArray<Finding> = [
    {
      check: "context",
      passed: fitting.length === Math.min(1000, rankings.length),
      found: `${fitting.length} of ${Math.min(1000, rankings.length)} prompts fit with their responses into ${contextLength} tokens`,
      remedy: "shorten or drop the others: the stages refuse them",
    },
    specialTokens(model, tokenizer, texts),
    yield* Effect.promise(() => invariance(model, sequences, pad)),
    yield* Effect.promise(() => cacheAgreement(model, prompts, { eos, pad, key: fold(key, "cache") })),
    ...(yield* Effect.promise(() =>
      phases(model, sequences, { eos, pad, key: fold(key, "speed"), longest: lengthOf(byLength.at(-1)!) }),
    )),
    yield* overfit(model, shortest, fold(key, "overfit")),
  ];
  return findings;
});

/** Demonstrations as pairs: each response beside that of another prompt. */
export function pairsOf(demonstrations: ReadonlyArray<Demonstration>): ReadonlyArray<Ranking> {
  return demonstrations.map(({ prompt, response }, i) => ({
    prompt,
    responses: [response, demonstrations[(i + 1) % demonstrations.length]!.response],
    ranks: [1, 2],
  }));
}

function lengthOf({ prompt, responses }: EncodedRanking): number {
  return prompt.length + Math.max(...responses.map(({ length }) => length));
}
