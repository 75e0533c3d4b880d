import { fold, type Key } from "@rlhf/core/random";
import { requireFinite } from "@rlhf/core/require_finite";
import { minibatches } from "@rlhf/data/minibatches";
import * as Effect from "effect/Effect";
import { RatioNotOne } from "./errors.ts";

type Metrics = Readonly<Record<string, number>>;

/** Kernels may round a row differently in another batch; what the check is for is far larger. */
const ratioTolerance = 1e-3;

/**
 * Passes over the episodes of an iteration, each in a fresh order, a minibatch at a time. `updateOnce` makes one optimizer
 * step and reports its metrics, among them `ratioDeviation` = max |π/π_old − 1|. The result is the means of
 * the metrics over the optimizer steps.
 *
 * Fails with {@link RatioNotOne} when the first step finds a ratio other than 1, with `NonFiniteLoss` when a metric is
 * NaN or infinite.
 */
export const updateInMinibatches = Effect.fn("policy-gradient.updateInMinibatches")(function* <
  E,
  R,
>(options: {
  readonly stage: string;
  /** Iterations before this one. */
  readonly iteration: number;
  readonly episodes: number;
  readonly epochs: number;
  readonly minibatchSize: number;
  /** Of this iteration. */
  readonly key: Key;
  readonly updateOnce: (members: Int32Array, update: number) => Effect.Effect<Metrics, E, R>;
}) {
  const { stage, iteration, episodes, epochs, minibatchSize, key, updateOnce } = options;
  const history: Array<Metrics> = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const members of minibatches(fold(key, epoch), episodes, minibatchSize)) {
      const { ratioDeviation, ...metrics } = yield* updateOnce(members, history.length);
      yield* requireFinite({ stage, step: iteration + 1 }, metrics);
      if (history.length === 0 && !(ratioDeviation! <= ratioTolerance)) {
        return yield* new RatioNotOne({ stage, iteration: iteration + 1, deviation: ratioDeviation! });
      }
      history.push(metrics);
      yield* Effect.yieldNow; // the math was synchronous: others have their turn
    }
  }
  return means(history);
});

/** A minibatch in parts of `size` episodes, the last may be smaller. */
export function microBatches(members: Int32Array, size: number): Array<Int32Array> {
  return Array.from({ length: Math.ceil(members.length / size) }, (_, i) =>
    members.subarray(i * size, (i + 1) * size),
  );
}

function means(history: ReadonlyArray<Metrics>): Record<string, number> {
  return Object.fromEntries(
    Object.keys(history[0]!).map((name) => [
      name,
      history.reduce((sum, metrics) => sum + metrics[name]!, 0) / history.length,
    ]),
  );
}
