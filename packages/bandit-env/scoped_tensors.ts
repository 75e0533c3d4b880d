import { dispose, type TensorContainer, tidy } from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";

/** Runs tensor math under `tf.tidy` and hands the tensors of its result, a record of them, to the Scope, which frees them. */
export const scopedTensors = <T extends object>(math: () => T): Effect.Effect<T, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => tidy(math as () => TensorContainer) as T),
    (tensors) => Effect.sync(() => dispose(tensors as TensorContainer)),
  );
