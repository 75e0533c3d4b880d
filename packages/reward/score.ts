import type { Tokens } from "@rlhf/core/records";
import { padRight } from "@rlhf/data/token_batch";
import { type ScalarModel, sequenceScores, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";

/** A network that judges a prompt with a response by one number: higher is better. */
export type RewardModel = ScalarModel;

/** A prompt with a response to be judged. The episodes of a bandit environment are such. */
export interface Judged {
  readonly prompt: { readonly tokens: Tokens };
  readonly response: { readonly tokens: Tokens };
}

/** Sequences in one forward pass, and tokens with their padding: whichever is reached first. */
const batchSize = 32;
const batchTokens = 8192;

/**
 * Scores of whole sequences, prompt and response end to end. The score is read at the last token given, so a truncated
 * response is judged at its last real token. Sequences of similar length share a batch; neither the batch
 * nor its padding changes a score.
 *
 * @returns one score per sequence, in the order given
 */
export const score = Effect.fn("reward.score")(function* (
  model: RewardModel,
  sequences: ReadonlyArray<Tokens>,
) {
  const scores = new Float32Array(sequences.length);
  const byLength = Array.from(sequences.keys()).sort((a, b) => sequences[a]!.length - sequences[b]!.length);
  for (let first = 0, end = 0; first < byLength.length; first = end) {
    const fits = (member: number, i: number) =>
      i < batchSize && (i === 0 || (i + 1) * sequences[member]!.length <= batchTokens);
    while (end < byLength.length && fits(byLength[end]!, end - first)) end++;
    const members = byLength.slice(first, end);
    const batchScores = tf.tidy(() =>
      forwardScores(
        model,
        members.map((member) => sequences[member]!),
      ),
    );
    const values = yield* Effect.ensuring(
      Effect.promise(() => batchScores.data()),
      Effect.sync(() => batchScores.dispose()),
    );
    members.forEach((member, i) => {
      scores[member] = values[i]!;
    });
  }
  return scores;
});

/** {@link score} for prompts with responses, in the form in which a bandit environment asks for scores. */
export const scoreEpisodes =
  (model: RewardModel) =>
  (episodes: ReadonlyArray<Judged>): Effect.Effect<Float32Array> =>
    score(
      model,
      episodes.map(({ prompt, response }) => [...prompt.tokens, ...response.tokens]),
    );

/** One padded forward pass over all sequences: `[sequences]`, with gradient. */
export function forwardScores(model: RewardModel, sequences: ReadonlyArray<Tokens>): tf.Tensor1D {
  const batch = padRight(
    sequences.map((tokens) => ({ tokens })),
    {
      padId: 0, // any id will do: no token sees padding
      atMost: model.config.contextLength,
    },
  );
  return sequenceScores(model, toSequences(batch));
}
