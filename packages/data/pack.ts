import { padRight, type Row, type TokenBatch } from "./token_batch.ts";

export interface PackOptions {
  /** The longest row of a batch, at most the model's context. */
  readonly length: number;
  readonly padId: number;
  /** Rows of one batch at most. Default 8. */
  readonly rowsPerBatch?: number;
}

/**
 * Packs whole sequences several to a row, so that little is spent on padding: each goes into the first row that has
 * room for it (first fit). Every sequence is a segment of its own with positions from 0, so a model computes for it
 * what it would alone. The first token of a sequence never counts in the loss: nothing precedes it.
 *
 * @throws RangeError when a sequence is longer than `length` or has segments already.
 * @example
 * ```ts
 * import { pack } from "@rlhf/data/pack";
 *
 * const [batch] = pack([{ tokens: [5, 6, 7] }, { tokens: [8, 9] }], { length: 8, padId: 0 });
 * console.log(batch!.ids); // 5, 6, 7, 8, 9, 0, 0, 0
 * console.log(batch!.segments); // 1, 1, 1, 2, 2, 0, 0, 0
 * ```
 */
export function pack(rows: ReadonlyArray<Row>, options: PackOptions): Array<TokenBatch> {
  const { length, padId, rowsPerBatch = 8 } = options;
  const bins: Array<{ used: number; readonly rows: Array<Row> }> = [];
  for (const row of rows) {
    const { tokens, segments } = row;
    if (segments !== undefined)
      throw new RangeError("Cannot pack rows: each must be one segment, got segments");
    if (tokens.length > length)
      throw new RangeError(`Cannot pack rows: they must have at most ${length} tokens, got ${tokens.length}`);
    let bin = bins.find(({ used }) => used + tokens.length <= length);
    if (bin === undefined) bins.push((bin = { used: 0, rows: [] }));
    bin.used += tokens.length;
    bin.rows.push(row);
  }
  const packed = bins.map((bin) => joinAsSegments(bin.rows));
  const batches: Array<TokenBatch> = [];
  for (let i = 0; i < packed.length; i += rowsPerBatch) {
    const members = packed.slice(i, i + rowsPerBatch);
    const longest = Math.max(...members.map(({ tokens }) => tokens.length));
    batches.push(padRight(members, { padId, length: Math.min(length, Math.ceil(longest / 8) * 8) }));
  }
  return batches;
}

function joinAsSegments(rows: ReadonlyArray<Row>): Row {
  const tokens: Array<number> = [];
  const lossMask: Array<number> = [];
  const segments: Array<number> = [];
  rows.forEach((row, i) => {
    for (let t = 0; t < row.tokens.length; t++) {
      tokens.push(row.tokens[t]!);
      lossMask.push(t === 0 ? 0 : (row.lossMask?.[t] ?? 1));
      segments.push(i + 1);
    }
  });
  return { tokens, lossMask, segments };
}
