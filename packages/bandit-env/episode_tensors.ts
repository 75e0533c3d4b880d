import type { Tokens } from "@rlhf/core/records";
import { padRight } from "@rlhf/data";
import { type Sequences, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import type { Episode } from "./episode.ts";

/**
 * Episodes as a model reads them: `ids`, `segments` and `positions` hold prompt and response, padded on the right,
 * `[batch, time]`; the others are about the response alone, one column a token, `[batch, response]`.
 */
export interface EpisodeTensors extends Sequences {
  /** The tokens of the response, int32. */
  readonly responseIds: tf.Tensor2D;
  /** Where in its row the token before each response token stands, which is where it is predicted from; int32. */
  readonly contexts: tf.Tensor2D;
  /** 1 for a token of the response, end of sequence included; float32. */
  readonly mask: tf.Tensor2D;
}

/**
 * Lays episodes out in tensors. Widths are multiples of 8 where the context has room, so that only a few shapes occur.
 *
 * @param options.pad the padding token; must not be the end-of-sequence token, which is a token that counts
 * @param options.contextLength of the models that will read them
 */
export function episodeTensors(
  episodes: ReadonlyArray<Episode>,
  options: { readonly pad: number; readonly contextLength: number },
): EpisodeTensors {
  const rows = episodes.map(({ prompt, response }) => ({ tokens: [...prompt.tokens, ...response.tokens] }));
  const width = roundUp(longest(episodes.map(({ response }) => response)));
  const length = Math.min(roundUp(longest(rows)), options.contextLength);
  const shape: [number, number] = [episodes.length, width];
  const responseIds = new Int32Array(episodes.length * width).fill(options.pad);
  const contexts = new Int32Array(episodes.length * width);
  const mask = new Float32Array(episodes.length * width);
  episodes.forEach(({ prompt, response }, row) => {
    response.tokens.forEach((token, column) => {
      const at = row * width + column;
      responseIds[at] = token;
      contexts[at] = prompt.tokens.length + column - 1;
      mask[at] = 1;
    });
  });
  return {
    ...toSequences(padRight(rows, { padId: options.pad, length })),
    responseIds: tf.tensor2d(responseIds, shape, "int32"),
    contexts: tf.tensor2d(contexts, shape, "int32"),
    mask: tf.tensor2d(mask, shape, "float32"),
  };
}

function longest(sequences: ReadonlyArray<{ readonly tokens: Tokens }>): number {
  return sequences.reduce((length, { tokens }) => Math.max(length, tokens.length), 1);
}

function roundUp(length: number): number {
  return Math.ceil(length / 8) * 8;
}
