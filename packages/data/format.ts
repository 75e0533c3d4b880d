import type { Demonstration, LabeledResponse, Ranking } from "@rlhf/core/records";
import type { JsonObject, Value } from "./_value.ts";
import type { Conversation, Rendering } from "./messages.ts";

/** The kinds of records that a file may hold. */
export interface Records {
  readonly texts: string;
  readonly demonstrations: Demonstration;
  readonly rankings: Ranking;
  /** Single responses called good or bad, for KTO. */
  readonly labels: LabeledResponse;
  readonly conversations: Conversation;
}
export type Kind = keyof Records;

/** What formats ask the caller for. */
export interface FormatOptions {
  readonly rendering: Rendering;
  /** Text of token ids, for files that hold tokens. */
  readonly decode?: (tokens: ReadonlyArray<number>) => string;
}

export type Reader<A> = (row: Value, options: FormatOptions) => ReadonlyArray<A>;

/** How one kind of file writes its records. To read another, add its format to `formats`. */
export interface Format {
  readonly name: string;
  /** What a row looks like, for messages: `{"prompt", "response"}`. */
  readonly example: string;
  /** Whether the row is of this format, by the names of its fields; their values may be wrong. */
  readonly recognizes: (row: JsonObject) => boolean;
  /** Rows that follow each other and have this in common are one: the reader gets a list of them. */
  readonly groupBy?: (row: JsonObject) => unknown;
  /** What its rows can be read as. */
  readonly reads: { readonly [K in Kind]?: Reader<Records[K]> };
}

/** A row with all these fields. */
export const has =
  (...fields: ReadonlyArray<string>) =>
  (row: JsonObject): boolean =>
    fields.every((field) => field in row);
