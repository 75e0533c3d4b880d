/** A pair of neighbouring tokens that may be merged next. */
export interface MergeCandidate {
  /** The pair as one number that sorts by first, then second token id. */
  readonly pair: number;
  /** How often the pair occurred when it was queued; never less than it occurs now, unless it was queued again. */
  readonly count: number;
  /** Indices of the words that may hold it. */
  readonly words: ReadonlyArray<number>;
}

/** A binary heap: highest count first, among equal counts the smallest pair. */
export class MergeQueue {
  readonly #heap: Array<MergeCandidate> = [];

  push(candidate: MergeCandidate): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(candidate);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(candidate, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = candidate;
  }

  pop(): MergeCandidate | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(a: MergeCandidate, b: MergeCandidate): boolean {
  return a.count === b.count ? a.pair < b.pair : a.count > b.count;
}
