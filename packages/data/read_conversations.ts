import * as Effect from "effect/Effect";
import { type ReadOptions, readData } from "./read.ts";

/**
 * Reads whole conversations, with tools and calls of tools: OpenAI messages or ShareGPT.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line and field.
 */
export const readConversations = (path: string, options?: ReadOptions) =>
  Effect.map(readData(path, "conversations", options), ({ records }) => records);
