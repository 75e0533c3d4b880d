import * as Effect from "effect/Effect";
import { type ReadOptions, readData } from "./read.ts";

/**
 * Reads rankings from a file or folder, as `readData` does: `{prompt, responses, ranks, labeler?}` with rank 1 for the
 * best and equal ranks for a tie, `{prompt, chosen, rejected}` of text or messages, HH-RLHF, ShareGPT and OpenAI
 * preferences, AlpacaEval annotations, comparisons of TL;DR and lm-human-preferences, OASST trees, scores per answer.
 *
 * A response may be empty: labellers do rank such. Fails with `InvalidInput`, which lists everything that is wrong in
 * all files, each with its line and field.
 */
export const readRankings = (path: string, options?: ReadOptions) =>
  Effect.map(readData(path, "rankings", options), ({ records }) => records);
