import { readFileSync } from "node:fs";
import type { GoldenSource } from "@rlhf/core/testing/fidelity";
import { type BackendName, useBackend } from "@rlhf/tensor/backend";
import * as tf from "@tensorflow/tfjs-core";
import { type Sequences, toSequences } from "../batch.ts";

/** One batch and what Python's transformers computed from it. */
export interface GoldenCase {
  readonly ids: ReadonlyArray<number>;
  readonly segments: ReadonlyArray<number>;
  readonly positions: ReadonlyArray<number>;
  readonly logits: ReadonlyArray<number>;
  readonly hidden: ReadonlyArray<number>;
  /** The hidden states of the model that ends before the first block, behind it, …; `hidden` is that of them all. */
  readonly layers: ReadonlyArray<ReadonlyArray<number>>;
  readonly scores: ReadonlyArray<number>;
  readonly loss: number;
}

/** The results for one architecture; the file names script and versions. */
export interface GoldenModel {
  readonly source: GoldenSource;
  readonly batch: number;
  readonly time: number;
  readonly right: GoldenCase;
  readonly left: GoldenCase;
  /** Of the first row, read in three pieces with transformers' own cache. */
  readonly cachedLogits?: ReadonlyArray<number>;
  readonly scoreWeight?: ReadonlyArray<number>;
  /** Logits of the right-padded batch under other rotary settings. */
  readonly scaled?: Readonly<Record<string, { rope_parameters: object; logits: ReadonlyArray<number> }>>;
}

export const readGoldenModel = (name: string): GoldenModel =>
  JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8"));

/** The input of a case. Free it with `tf.dispose`. */
export const inputOf = ({ batch, time }: GoldenModel, { ids, segments, positions }: GoldenCase): Sequences =>
  toSequences({
    ids: Int32Array.from(ids),
    segments: Int32Array.from(segments),
    positions: Int32Array.from(positions),
    batch,
    time,
  });

/** `[batch, time, n]` with zeros at padding. */
export const atRealTokens = (x: tf.Tensor3D, segments: tf.Tensor2D): tf.Tensor =>
  tf.mul(x, tf.expandDims(tf.cast(segments, "float32"), 2));

/** The reference backend and, where it is built, the fast one. */
export const cpuAndNative = async (): Promise<ReadonlyArray<BackendName>> => {
  const native = await useBackend("native").then(
    () => true,
    () => false,
  );
  return native ? ["cpu", "native"] : ["cpu"];
};
