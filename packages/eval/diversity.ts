/** A text as its words or token ids. */
export type Sequence = ReadonlyArray<string | number>;

/**
 * distinct-n (Li et al. 2016, arXiv:1510.03055): different n-grams / all n-grams, over all responses together. It falls
 * when a policy collapses onto few phrases. It also falls with the amount of text, so compare equally many responses.
 */
export function distinct(responses: ReadonlyArray<Sequence>, n: number): number {
  const seen = new Set<string>();
  let total = 0;
  for (const response of responses) {
    for (const gram of ngrams(response, n)) {
      seen.add(gram);
      total++;
    }
  }
  return total === 0 ? 0 : seen.size / total;
}

/**
 * Self-repetition (seq-rep-n, Welleck et al. 2020, arXiv:1908.04319): 1 − different n-grams / all n-grams within one
 * response, averaged over the responses long enough to have any.
 */
export function selfRepetition(responses: ReadonlyArray<Sequence>, n: number): number {
  const shares = responses.flatMap((response) => {
    const grams = ngrams(response, n);
    return grams.length === 0 ? [] : [1 - new Set(grams).size / grams.length];
  });
  return shares.length === 0 ? 0 : shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

function ngrams(sequence: Sequence, n: number): Array<string> {
  if (!Number.isInteger(n) || n < 1) {
    throw new RangeError(`Cannot count n-grams: n must be an integer ≥ 1, got ${n}`);
  }
  const count = Math.max(0, sequence.length - n + 1);
  return Array.from({ length: count }, (_, start) => JSON.stringify(sequence.slice(start, start + n)));
}
