import type { Key } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import { generate, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { type Episode, truncateAtEos } from "./episode.ts";
import { type Responses, responseMask } from "./responses.ts";
import { scopedTensors } from "./scoped_tensors.ts";
import type { Verdicts } from "./score.ts";

/** What a policy did with a batch of prompts. The tensors belong to the Scope in which the rollout was made. */
export interface Rollout<P extends EncodedPrompt = EncodedPrompt> extends Responses {
  readonly episodes: ReadonlyArray<Episode<P>>;
  /** log π of every response token as the sampler saw it, `[batch, response]`, 0 where the mask is 0. */
  readonly oldLogProbs: tf.Tensor2D;
}

/** A rollout with its scores. */
export type JudgedRollout<P extends EncodedPrompt = EncodedPrompt> = Rollout<P> & Verdicts;

export interface RolloutOptions<P extends EncodedPrompt = EncodedPrompt> {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<P>;
  /** Longest response, end of sequence included. */
  readonly maxNewTokens: number;
  /** The end-of-sequence token. */
  readonly eos: number;
  readonly temperature: number;
  readonly key: Key;
  /** How many responses are sampled at once; changes speed only. */
  readonly slots?: number;
}

/**
 * Samples one response to each prompt from the policy's own distribution at a temperature: no top-k and no top-p,
 * since the log-probabilities of the update are of the whole distribution. Tokens in, tokens out.
 */
export const rollout = Effect.fn("bandit-env.rollout")(function* <P extends EncodedPrompt>(
  options: RolloutOptions<P>,
) {
  const { policy, prompts, ...sampling } = options;
  const generations = yield* Effect.promise((signal) =>
    generate(policy, { ...sampling, prompts: prompts.map(({ tokens }) => tokens), signal }),
  );
  const episodes = prompts.map(
    (prompt, i): Episode<P> => ({
      prompt,
      response: truncateAtEos(generations[i]!.tokens, options.eos),
    }),
  );
  const tensors = yield* scopedTensors(() => {
    const mask = responseMask(episodes);
    const logProbs = new Float32Array(mask.size);
    generations.forEach((generation, row) => {
      logProbs.set(generation.logProbs, row * mask.shape[1]);
    });
    return { mask, oldLogProbs: tf.tensor2d(logProbs, mask.shape) };
  });
  const result: Rollout<P> = { episodes, ...tensors };
  return result;
});
