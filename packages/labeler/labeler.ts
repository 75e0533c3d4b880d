import type { Prompt } from "@rlhf/core/records";

/** Somebody who ranks the responses to a prompt: rank 1 is best, equal ranks are a tie. */
export interface Labeler<P extends Prompt> {
  readonly name: string;
  readonly rank: (prompt: P, responses: ReadonlyArray<string>) => ReadonlyArray<number>;
}
