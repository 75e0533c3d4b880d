import * as Effect from "effect/Effect";
import { type ReadOptions, readData } from "./read.ts";

/**
 * Reads the documents of a corpus for pretraining from a file or folder, as `readData` does: rows of `{text}` hold a
 * document each; any other file of text is one document.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line and field.
 */
export const readCorpus = (path: string, options?: ReadOptions) =>
  Effect.map(readData(path, "texts", options), ({ records }) => records);
