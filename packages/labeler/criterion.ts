/**
 * One thing that a labeller looks at. `judge` says how well the response does on it, from 0 to 1, in the eyes of
 * person `rater`; `undefined` means that the criterion does not apply to this prompt. `P` is whatever a prompt is
 * to the criterion: a criterion that ignores the prompt fits every kind of prompt.
 */
export interface Criterion<P = unknown> {
  readonly name: string;
  readonly judge: (prompt: P, response: string, rater: number) => number | undefined;
}

/** What simulated labellers judge by: content in proportion to its weights, as far as the response is readable. */
export interface Criteria<P> {
  readonly content: ReadonlyArray<{ readonly criterion: Criterion<P>; readonly weight: number }>;
  readonly readability: ReadonlyArray<Criterion<P>>;
}
