import type { Key } from "@rlhf/core/random";
import type { EncodedPrompt } from "@rlhf/core/records";
import { generate, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { type Episode, truncateAtEos } from "./episode.ts";
import { type EpisodeTensors, episodeTensors } from "./episode_tensors.ts";
import { scopedTensors } from "./scoped_tensors.ts";
import type { Verdicts } from "./score.ts";

/** What a policy did with a batch of prompts. The tensors belong to the Scope in which the rollout was made. */
export interface Rollout<P extends EncodedPrompt = EncodedPrompt> {
  readonly episodes: ReadonlyArray<Episode<P>>;
  readonly tensors: EpisodeTensors;
  /** log π of every response token as the sampler saw it, `[batch, response]`, 0 where the mask is 0. */
  readonly oldLogProbs: tf.Tensor2D;
}

/** A rollout with its scores. */
export type JudgedRollout<P extends EncodedPrompt = EncodedPrompt> = Rollout<P> & Verdicts;

/**
 * Samples one response to each prompt from the policy's own distribution at a temperature: no top-k and no top-p,
 * since the log-probabilities of the update are of the whole distribution. Tokens in, tokens out.
 *
 * @param maxNewTokens longest response, end of sequence included
 * @param eos the end-of-sequence token, @param pad the padding token; they must differ
 * @param slots how many responses are sampled at once; changes speed only
 */
export const rollout = Effect.fn("bandit-env.rollout")(function* <P extends EncodedPrompt>(options: {
  readonly policy: Model;
  readonly prompts: ReadonlyArray<P>;
  readonly maxNewTokens: number;
  readonly eos: number;
  readonly pad: number;
  readonly temperature: number;
  readonly key: Key;
  readonly slots?: number;
}) {
  const { policy, prompts, eos, pad, ...sampling } = options;
  if (eos === pad) {
    throw new RangeError(`Cannot roll out: pad must be a token of its own, got ${pad}, which is also eos`);
  }
  const generations = yield* Effect.promise((signal) =>
    generate(policy, { ...sampling, prompts: prompts.map(({ tokens }) => tokens), eos, signal }),
  );
  const episodes = prompts.map(
    (prompt, i): Episode<P> => ({
      prompt,
      response: truncateAtEos(generations[i]!.tokens, eos),
    }),
  );
  const laidOut = yield* scopedTensors(() => {
    const tensors = episodeTensors(episodes, { pad, contextLength: policy.config.contextLength });
    const [batch, width] = tensors.mask.shape;
    const logProbs = new Float32Array(batch * width);
    generations.forEach((generation, row) => {
      logProbs.set(generation.logProbs, row * width);
    });
    return { tensors, oldLogProbs: tf.tensor2d(logProbs, [batch, width]) };
  });
  const result: Rollout<P> = { episodes, ...laidOut };
  return result;
});
