import type { Ranking } from "@rlhf/core/records";

/** How often two labellers order a pair of responses alike. */
export interface Agreement {
  /** agreed / compared; NaN where nothing could be compared. */
  readonly share: number;
  /** Pairs that both labellers ordered. A pair that either of them ties is left out of the share. */
  readonly compared: number;
  /** Pairs that at least one of the two tied. */
  readonly tied: number;
}

export interface AgreementMatrix {
  readonly labelers: ReadonlyArray<string>;
  /** `between[i][j]`: labeller i with labeller j; the diagonal is empty (share NaN). */
  readonly between: ReadonlyArray<ReadonlyArray<Agreement>>;
  /** All pairs of labellers together, each comparison counted once. */
  readonly overall: Agreement;
}

/** The agreement of two rankings of the same responses, over all C(K, 2) pairs. */
export function agreement(a: ReadonlyArray<number>, b: ReadonlyArray<number>): Agreement {
  if (a.length !== b.length) {
    throw new RangeError(
      `Cannot compare rankings: both must rank the same responses, got ${a.length} and ${b.length} ranks`,
    );
  }
  let [agreed, compared, tied] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const product = (a[i]! - a[j]!) * (b[i]! - b[j]!);
      if (product === 0) tied++;
      else compared++;
      if (product > 0) agreed++;
    }
  }
  return { share: agreed / compared, compared, tied };
}

/** Who agrees with whom, over every prompt that more than one labeller ranked. Rankings without a labeller are ignored. */
export function agreementMatrix(rankings: ReadonlyArray<Ranking>): AgreementMatrix {
  const labelers = [...new Set(rankings.flatMap(({ labeler }) => labeler ?? []))].sort();
  const shared = new Map<string, Map<string, ReadonlyArray<number>>>();
  for (const { prompt, responses, ranks, labeler } of rankings) {
    if (labeler === undefined) continue;
    const item = JSON.stringify([prompt, responses]);
    shared.set(item, (shared.get(item) ?? new Map()).set(labeler, ranks));
  }
  const compare = (a: string, b: string) =>
    together(
      [...shared.values()].flatMap((ranksBy) => {
        const [left, right] = [ranksBy.get(a), ranksBy.get(b)];
        return left && right && a !== b ? [agreement(left, right)] : [];
      }),
    );
  const between = labelers.map((a) => labelers.map((b) => compare(a, b)));
  return { labelers, between, overall: together(between.flatMap((row, i) => row.slice(0, i))) };
}

function together(parts: ReadonlyArray<Agreement>): Agreement {
  let [agreed, compared, tied] = [0, 0, 0];
  for (const part of parts) {
    if (part.compared > 0) agreed += part.share * part.compared;
    compared += part.compared;
    tied += part.tied;
  }
  return { share: agreed / compared, compared, tied };
}
