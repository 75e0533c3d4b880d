import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";

/** The value of Σᵢ lossᵢ without gradients, one summand at a time: what `trainStep` minimizes, on other data say. */
export const totalLoss = Effect.fnUntraced(function* (losses: ReadonlyArray<() => tf.Scalar>) {
  let total = 0;
  for (const loss of losses) {
    const part = tf.tidy(loss);
    const read = Effect.promise(() => part.data());
    total += (yield* Effect.ensuring(
      read,
      Effect.sync(() => part.dispose()),
    ))[0]!;
  }
  return total;
});
