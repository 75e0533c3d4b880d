import * as Effect from "effect/Effect";
import { type ReadOptions, readData } from "./read.ts";

/**
 * Reads single responses called good or bad, for KTO: `{messages, label}` or `{prompt, completion, label}`.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line and field.
 */
export const readLabels = (path: string, options?: ReadOptions) =>
  Effect.map(readData(path, "labels", options), ({ records }) => records);
