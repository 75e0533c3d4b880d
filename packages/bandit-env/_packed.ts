import { padRight } from "@rlhf/data/token_batch";
import { embed } from "@rlhf/tensor";
import { type Sequences, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import type { Episode } from "./episode.ts";
import type { Responses } from "./responses.ts";

/** Responses as a model reads them. */
interface Packed {
  /** Prompts with their responses, several to a row, each a segment of its own. */
  readonly sequences: Sequences;
  /** The response tokens, row after row of the mask, int32 `[batch · response]`. */
  readonly responseIds: tf.Tensor1D;
  /**
   * For each of them the place of the token before it, from which it is predicted, in the flattened sequences;
   * int32 `[batch · response]`.
   */
  readonly contexts: tf.Tensor1D;
}

/** Any id will do: no token sees padding, and the mask leaves it out. */
const padId = 0;

/**
 * Puts episodes into rows of about twice the longest, each into the first row with room for it: episodes differ
 * much in length, and padding would cost as much as tokens. Both sizes are rounded up, so that a run has few shapes
 * and backends can use their buffers again.
 */
export function packResponses({ episodes, mask }: Responses, contextLength: number): Packed {
  const width = mask.shape[1];
  const longest = Math.max(...episodes.map(lengthOf));
  const length = Math.min(roundUp(2 * longest, 32), contextLength);
  const rows: Array<{ readonly tokens: Array<number>; readonly segments: Array<number> }> = [];
  const responseIds = new Int32Array(episodes.length * width).fill(padId);
  const contexts = new Int32Array(episodes.length * width);
  episodes.forEach((episode, member) => {
    const { prompt, response } = episode;
    let index = rows.findIndex(({ tokens }) => tokens.length + lengthOf(episode) <= length);
    if (index < 0) index = rows.push({ tokens: [], segments: [] }) - 1;
    const { tokens, segments } = rows[index]!;
    const beforeResponse = index * length + tokens.length + prompt.tokens.length - 1;
    const segment = (segments.at(-1) ?? 0) + 1;
    tokens.push(...prompt.tokens, ...response.tokens);
    segments.push(...new Array<number>(lengthOf(episode)).fill(segment));
    response.tokens.forEach((token, column) => {
      responseIds[member * width + column] = token;
      contexts[member * width + column] = beforeResponse + column;
    });
  });
  while (rows.length % 4 > 0) rows.push({ tokens: [], segments: [] });
  return {
    sequences: toSequences(padRight(rows, { padId, length })),
    responseIds: tf.tensor1d(responseIds, "int32"),
    contexts: tf.tensor1d(contexts, "int32"),
  };
}

/** The vectors of `[rows, time, size]` at these places of the flattened sequences: `[places, size]`. */
export function vectorsAt(x: tf.Tensor, places: tf.Tensor1D): tf.Tensor2D {
  return embed(tf.reshape(x, [-1, x.shape[2]!]), places) as tf.Tensor2D;
}

function lengthOf({ prompt, response }: Episode): number {
  return prompt.tokens.length + response.tokens.length;
}

function roundUp(size: number, multiple: number): number {
  return Math.ceil(size / multiple) * multiple;
}
