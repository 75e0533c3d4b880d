import { fold, type Key } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import type { Model } from "@rlhf/transformer";
import { generate } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { type Episode, truncateAtEos } from "./episode.ts";
import { judge, type Score } from "./score.ts";

/** The responses to one prompt, best first. */
export interface Candidates<P extends EncodedPrompt = EncodedPrompt> {
  readonly prompt: P;
  readonly episodes: ReadonlyArray<Episode<P>>;
  /** In the order of `episodes`. */
  readonly scores: ReadonlyArray<number>;
}

/**
 * Best-of-n (Stiennon et al. 2020, arXiv:2009.01325; Nakano et al. 2021, arXiv:2112.09332): samples n responses to each prompt and sorts
 * them by score, so that `episodes[0]` is the choice. Equal scores keep the order in which they were sampled.
 *
 * @param n responses to each prompt
 * @param slots how many responses are sampled at once; changes speed only
 * @throws RangeError when n is not an integer of at least 1
 */
export const bestOfN = Effect.fn("bandit-env.bestOfN")(function* <P extends EncodedPrompt, E, R>(options: {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<P>;
  readonly n: number;
  readonly score: Score<E, R>;
  readonly missingEosPenalty: number;
  readonly maxNewTokens: number;
  /** The end-of-sequence token. */
  readonly eos: number;
  readonly temperature: number;
  readonly key: Key;
  readonly slots?: number;
}) {
  const { policy, prompts, n, score, missingEosPenalty, key, ...sampling } = options;
  if (!Number.isInteger(n) || n < 1) {
    throw new RangeError(`Cannot take the best of n: n must be an integer of at least 1, got ${n}`);
  }
  const asked = prompts.flatMap((prompt) => new Array<P>(n).fill(prompt));
  const generations = yield* Effect.promise((signal) =>
    generate(policy, {
      ...sampling,
      prompts: asked.map(({ tokens }) => tokens),
      key: fold(key, "best-of-n"),
      signal,
    }),
  );
  const episodes = asked.map(
    (prompt, i): Episode<P> => ({ prompt, response: truncateAtEos(generations[i]!.tokens, options.eos) }),
  );
  const { scores } = yield* judge({ episodes }, { score, missingEosPenalty });
  return prompts.map((prompt, i): Candidates<P> => {
    const members = Array.from({ length: n }, (_, j) => i * n + j).sort((a, b) => scores[b]! - scores[a]!);
    return {
      prompt,
      episodes: members.map((member) => episodes[member]!),
      scores: members.map((member) => scores[member]!),
    };
  });
});

/**
 * What the best of n is worth, from N ≥ n samples: the mean of a value over all C(N, n) subsets of n samples, each
 * represented by its member of highest score. It is unbiased, and far less noisy than drawing the best of n once (Nakano et al.
 * 2021, arXiv:2112.09332, appendix I). With samples sorted by score, lowest first:
 *
 *     R(n) = 1/C(N, n) · Σᵢ₌ₙᴺ C(i − 1, n − 1) · valueᵢ
 *
 * Samples of equal score are as likely as each other to represent a subset.
 *
 * @param scores what the best is chosen by, one a sample: a reward model's, say
 * @param values what is to be known of the best, such as a gold reward; the scores themselves when left out
 * @throws RangeError unless 1 ≤ n ≤ N and each sample has a value
 */
export function expectedBestOfN({
  scores,
  values = scores,
  n,
}: {
  readonly scores: ArrayLike<number>;
  readonly values?: ArrayLike<number>;
  readonly n: number;
}): number {
  const total = scores.length;
  if (!Number.isInteger(n) || n < 1 || n > total || values.length !== total) {
    throw new RangeError(
      `Cannot estimate the best of n: n must be an integer from 1 to the number of samples (${total}), each with a value, got n = ${n} and ${values.length} values`,
    );
  }
  const highestFirst = Array.from({ length: total }, (_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
  // The weight of rank i from the top is C(N − 1 − i, n − 1) / C(N, n): n/N at first, then a recurrence without factorials.
  let weight = n / total;
  let result = 0;
  for (let first = 0; first < total; ) {
    let [last, groupWeight, groupValue] = [first, 0, 0];
    while (last < total && scores[highestFirst[last]!] === scores[highestFirst[first]!]) {
      groupWeight += weight;
      groupValue += values[highestFirst[last]!]!;
      const below = total - 1 - last;
      weight *= below === 0 ? 0 : Math.max(0, below - (n - 1)) / below;
      last++;
    }
    result += (groupWeight * groupValue) / (last - first);
    first = last;
  }
  return result;
}
