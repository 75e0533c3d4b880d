/** The weights and the tokens that both sides compute with. */
import * as NodeServices from "@effect/platform-node/NodeServices";
import { toSequences } from "@rlhf/transformer/batch";
import { loadCheckpoint } from "@rlhf/transformer/checkpoint";
import { nextTokenLogProbs } from "@rlhf/transformer/log_probs";
import type { Model } from "@rlhf/transformer/model";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";

export const load = (folder: string): Promise<Model> =>
  Effect.runPromise(Effect.provide(loadCheckpoint(folder), NodeServices.layer));

/** The same token ids on both sides, row-major. */
export const someIds = (count: number, vocab: number): Int32Array =>
  Int32Array.from({ length: count }, (_, i) => (i * 7919) % vocab);

export const sequencesOf = (ids: Int32Array, batch: number, time: number) =>
  toSequences({
    ids,
    segments: new Int32Array(batch * time).fill(1),
    positions: Int32Array.from({ length: batch * time }, (_, i) => i % time),
    batch,
    time,
  });

/** The loss of one row: equal on both sides when the weights and the model are. */
export async function check(model: Model, ids: Int32Array, time: number): Promise<number> {
  const sequences = sequencesOf(ids.slice(0, time), 1, time);
  const sum = tf.tidy(() => tf.sum(nextTokenLogProbs(model, sequences).logProbs));
  const [logProb] = await sum.data();
  tf.dispose([sum, { ...sequences }]);
  return -logProb! / (time - 1);
}
