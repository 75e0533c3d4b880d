import type { Tokens } from "@rlhf/core/records";
import { type PadOptions, padRight } from "@rlhf/data";
import { type Model, nextTokenLogProbs, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/** The log-probabilities of every token of each sequence, in one forward pass over all of them; the first is 0. */
export async function logProbsOf(
  model: Model,
  sequences: ReadonlyArray<Tokens>,
  options: PadOptions,
): Promise<Array<Float32Array>> {
  const batch = padRight(
    sequences.map((tokens) => ({ tokens })),
    options,
  );
  const logProbs = tf.tidy(() => nextTokenLogProbs(model, toSequences(batch)).logProbs);
  const values = (await logProbs.data()) as Float32Array;
  logProbs.dispose();
  return sequences.map(({ length }, row) => values.slice(row * batch.time, row * batch.time + length));
}

/** The largest difference of two lists of numbers. */
export function largestGap(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let gap = 0;
  // A difference that is no number is worse than any.
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    gap = Number.isFinite(difference) ? Math.max(gap, difference) : Number.POSITIVE_INFINITY;
  }
  return gap;
}
