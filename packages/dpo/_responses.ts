import { type Episode, inParts, responseLogProbs, responseMask } from "@rlhf/bandit-env";
import type { EncodedRanking, Tokens } from "@rlhf/core/records";
import type { Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";

/** A prompt with the responses to it. */
export type Answers = Pick<EncodedRanking, "prompt" | "responses">;

/** A response as if it had just been sampled. */
export function episode(prompt: Tokens, response: Tokens): Episode {
  return { prompt: { id: "", tokens: prompt }, response: { tokens: response, finished: true } };
}

export function episodesOf({ prompt, responses }: Answers): Array<Episode> {
  return responses.map((response) => episode(prompt, response));
}

/** log π of every response, summed over its tokens, `size` responses a forward pass. */
export const sequenceLogProbs = Effect.fnUntraced(function* (
  model: Model,
  episodes: ReadonlyArray<Episode>,
  size: number,
) {
  const sums = tf.tidy(
    () =>
      inParts({ episodes, mask: responseMask(episodes) }, size, (part) => ({
        sums: tf.sum(responseLogProbs(model, part, { temperature: 1 }).logProbs, 1),
      })).sums,
  );
  const read = Effect.promise(() => sums.data());
  return Float32Array.from(
    yield* Effect.ensuring(
      read,
      Effect.sync(() => sums.dispose()),
    ),
  );
});
