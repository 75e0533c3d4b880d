import { readFileSync } from "node:fs";
import type { GoldenSource } from "@rlhf/core/testing/fidelity";
import * as tf from "@tensorflow/tfjs-core";
import { type Sequences, toSequences } from "../batch.ts";

interface Case {
  readonly ids: ReadonlyArray<number>;
  readonly segments: ReadonlyArray<number>;
  readonly positions: ReadonlyArray<number>;
  readonly logits: ReadonlyArray<number>;
  readonly maskedLogits: ReadonlyArray<number>;
  readonly scores: ReadonlyArray<number>;
  readonly loss: number;
}

/** What Python's transformers computed; see the script named in the file. */
export const golden: {
  source: GoldenSource;
  batch: number;
  time: number;
  right: Case;
  left: Case;
} = JSON.parse(readFileSync(new URL("../golden/gpt2.json", import.meta.url), "utf8"));

/** The path of a golden file or folder. */
export const goldenPath = (name: string) => new URL(`../golden/${name}`, import.meta.url).pathname;

/** The inputs of a golden case. */
export const goldenSequences = ({ ids, segments, positions }: Case): Sequences =>
  toSequences({
    ids: Int32Array.from(ids),
    segments: Int32Array.from(segments),
    positions: Int32Array.from(positions),
    batch: golden.batch,
    time: golden.time,
  });

/** A batch of one sequence without padding. */
export const oneSequence = (tokens: ReadonlyArray<number>): Sequences =>
  toSequences({
    ids: Int32Array.from(tokens),
    segments: new Int32Array(tokens.length).fill(1),
    positions: Int32Array.from(tokens.keys()),
    batch: 1,
    time: tokens.length,
  });

/** −Σ mask · log p / Σ mask, as a scalar tensor. */
export const meanNegative = (logProbs: tf.Tensor2D, segments: tf.Tensor2D): tf.Scalar =>
  tf.tidy(() => {
    const [batch, time] = segments.shape;
    const real = tf.cast(tf.greater(segments, 0), "float32");
    const before = tf.slice(real, [0, 0], [batch, time - 1]);
    const count = tf.sum(tf.mul(before, tf.slice(real, [0, 1], [batch, time - 1])));
    return tf.neg(tf.div(tf.sum(logProbs), count)) as tf.Scalar;
  });
