/** Steps of decoding whose shapes recur, so that they are recorded, for batches that shrink and weights that change. */
import * as tf from "@tensorflow/tfjs-core";
import { createKvCache, decodeStep } from "../../tensor/decode_step.ts";
import type { DecoderBlockWeights } from "../../tensor/decoder.ts";
import { decoderWeights, gpt, layers, stepOf } from "../../tensor/testing/decoders.ts";
import { CudaKvCache } from "../fused/kv_cache.ts";

/** The logits of all steps, and how many shapes were recorded; `between` runs before each step. */
export const recordedDecoding = (
  between = () => {},
): { readonly logits: tf.Tensor[]; readonly recorded: number } => {
  const made = decoderWeights(gpt, 30);
  const [first, second] = made.blocks as [DecoderBlockWeights, DecoderBlockWeights];
  const weight = tf.variable(first.up.weight);
  const weights = { ...made, blocks: [{ ...first, up: { ...first.up, weight } }, second] };
  const cache = createKvCache(gpt, { layers, slots: 3, length: 30 });
  const slots = [[0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 1, 2], [2, 0, 1], [2, 1], [2, 1], [1]];
  const logits = slots.map((order, position) => {
    between();
    if (position === 3) weight.assign(tf.mul(weight, 1.5));
    const runs = order.map((slot) => [slot, position, 1] as const);
    return decodeStep({ spec: gpt, weights, cache, ...stepOf(position, runs) });
  });
  const steps = cache instanceof CudaKvCache ? [...cache.steps.values()] : [];
  cache.dispose();
  weight.dispose();
  return { logits, recorded: steps.filter((step) => step !== "seen").length };
};
