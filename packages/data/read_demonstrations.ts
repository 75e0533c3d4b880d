import * as Effect from "effect/Effect";
import { type ReadOptions, readData } from "./read.ts";

/**
 * Reads demonstrations from a file or folder, as `readData` does: `{prompt, response}` or `{prompt, completion}`,
 * Alpaca, Dolly, Self-Instruct's seed tasks; of conversations (OpenAI messages, ShareGPT) every turn of the assistant,
 * of OASST trees the best answers, of HH-RLHF the last turn of the chosen transcript.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line and field.
 */
export const readDemonstrations = (path: string, options?: ReadOptions) =>
  Effect.map(readData(path, "demonstrations", options), ({ records }) => records);
