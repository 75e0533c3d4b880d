import type * as tf from "@tensorflow/tfjs-core";
import { dispose, tidy } from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";

/** Runs tensor math under `tf.tidy` and hands the tensors of its result to the Scope, which frees them. */
export const scopedTensors = <T extends tf.TensorContainer>(
  math: () => T,
): Effect.Effect<T, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => tidy(math)),
    (tensors) => Effect.sync(() => dispose(tensors)),
  );
