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
  /** The response tokens, one response after the other without padding between them, int32 `[tokens]`. */
  readonly responseIds: tf.Tensor1D;
  /**
   * For each of them the place of the token before it, from which it is predicted, in the flattened sequences;
   * int32 `[tokens]`.
   */
  readonly contexts: tf.Tensor1D;
  /** Numbers for those tokens, `[tokens]`, in the shape of the mask, 0 where that is 0. Differentiable. */
  readonly byResponse: (x: tf.Tensor1D) => tf.Tensor2D;
}

/** Any id will do: no token sees padding, and the mask leaves it out. */
const padId = 0;

/**
 * Puts episodes into rows of about twice the longest, each into the first row with room for it: episodes differ
 * much in length, and padding would cost as much as tokens. All sizes are rounded up, so that a run has few shapes
 * and backends can use their buffers again.
 */
export function packResponses({ episodes, mask }: Responses, contextLength: number): Packed {
  const width = mask.shape[1];
  const longest = Math.max(...episodes.map(lengthOf));
  const length = Math.min(roundUp(2 * longest, 32), contextLength);
  const rows: Array<{ readonly tokens: Array<number>; readonly segments: Array<number> }> = [];
  const count = episodes.reduce((sum, { response }) => sum + response.tokens.length, 0);
  const padded = Math.min(roundUp(Math.max(count, 1), 64), episodes.length * width);
  const responseIds = new Int32Array(padded).fill(padId);
  const contexts = new Int32Array(padded);
  const numbers = new Int32Array(episodes.length * width);
  let number = 0;
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
      responseIds[number] = token;
      contexts[number] = beforeResponse + column;
      numbers[member * width + column] = number;
      number += 1;
    });
  });
  while (rows.length % 4 > 0) rows.push({ tokens: [], segments: [] });
  const places = tf.tensor1d(numbers, "int32");
  return {
    sequences: toSequences(padRight(rows, { padId, length })),
    responseIds: tf.tensor1d(responseIds, "int32"),
    contexts: tf.tensor1d(contexts, "int32"),
    byResponse: (x) => {
      const spread = embed(tf.reshape(x, [-1, 1]), places);
      return tf.mul<tf.Tensor2D>(tf.reshape(spread, mask.shape), mask);
    },
  };
}

function lengthOf({ prompt, response }: Episode): number {
  return prompt.tokens.length + response.tokens.length;
}

function roundUp(size: number, multiple: number): number {
  return Math.ceil(size / multiple) * multiple;
}
