import type { EncodedPrompt, Response, Tokens } from "@rlhf/core/records";

/** One pass through the bandit environment: a prompt, the whole response as one action, the end. */
export interface Episode<P extends EncodedPrompt = EncodedPrompt> {
  readonly prompt: P;
  readonly response: Response;
}

/** A response cut after its first end-of-sequence token, which stays. Without one it is unfinished and stays whole. */
export function truncateAtEos(tokens: Tokens, eos: number): Response {
  const end = tokens.indexOf(eos);
  return end < 0 ? { tokens, finished: false } : { tokens: tokens.slice(0, end + 1), finished: true };
}
