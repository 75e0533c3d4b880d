import type { Model } from "@rlhf/transformer";
import { logits, toSequences } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";

/** The part of a tokenizer that {@link fillMask} needs. */
export interface MaskTokenizer {
  readonly encode: (text: string) => ReadonlyArray<number>;
  readonly decode: (ids: ReadonlyArray<number>) => string;
  readonly specials: { readonly mask?: number };
}

/** One way to fill the gap. */
export interface Filling {
  readonly token: string;
  readonly probability: number;
  /** The whole text with the gap filled. */
  readonly text: string;
}

/**
 * What a masked language model reads at `[MASK]`, most probable first. A space before the gap belongs to the missing word, as
 * byte-pair tokens carry the space in front of them.
 *
 * @param model a `masked-lm`
 * @param text with `[MASK]` exactly once
 * @param top how many fillings
 * @throws RangeError when the text has no gap or several, TypeError when the tokenizer has no mask token
 */
export async function fillMask(
  model: Model,
  tokenizer: MaskTokenizer,
  text: string,
  { top = 5 }: { readonly top?: number } = {},
): Promise<ReadonlyArray<Filling>> {
  const [before, after, ...more] = text.split("[MASK]");
  if (before === undefined || after === undefined || more.length > 0) {
    throw new RangeError(`Cannot fill a gap: the text must have [MASK] exactly once, got "${text}"`);
  }
  const { mask } = tokenizer.specials;
  if (mask === undefined)
    throw new TypeError("Cannot fill a gap: the tokenizer must have a mask token, got none");

  const left = before.replace(/ $/, "");
  const start = tokenizer.encode(left);
  const probabilities = await probabilitiesAt(
    model,
    [...start, mask, ...tokenizer.encode(after)],
    start.length,
  );
  return Array.from(probabilities, (probability, id) => ({ probability, id }))
    .filter(({ id }) => id !== mask)
    .sort((a, b) => b.probability - a.probability)
    .slice(0, top)
    .map(({ probability, id }) => {
      const token = tokenizer.decode([id]);
      return { token: token.trim(), probability, text: left + token + after };
    });
}

async function probabilitiesAt(
  model: Model,
  ids: ReadonlyArray<number>,
  place: number,
): Promise<Float32Array> {
  const probabilities = tf.tidy(() => {
    const row = toSequences({
      ids: Int32Array.from(ids),
      segments: new Int32Array(ids.length).fill(1),
      positions: Int32Array.from(ids, (_, time) => time),
      batch: 1,
      time: ids.length,
    });
    const scores = tf.slice(logits(model, row), [0, place, 0], [1, 1, -1]);
    return tf.softmax(tf.reshape(scores, [-1]));
  });
  try {
    return (await probabilities.data()) as Float32Array;
  } finally {
    probabilities.dispose();
  }
}
