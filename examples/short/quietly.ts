import { Progress, RunFolder } from "@rlhf/core";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

/** Runs a stage that nobody watches and that leaves no run folder. */
export const quietly = <A, E>(stage: Effect.Effect<A, E, Progress | RunFolder>): Promise<A> =>
  Effect.runPromise(stage.pipe(Effect.provide(Layer.merge(Progress.layerSilent, RunFolder.layerMemory))));
