/**
 * Token sequences side by side, in ordinary arrays, row-major `[batch, time]`. It says for each token what a model
 * needs to know, so that padding and packing are invisible to it.
 */
export interface TokenBatch {
  readonly ids: Int32Array;
  /** 0 on padding; a token belongs together only with tokens of the same segment in its row. */
  readonly segments: Int32Array;
  /** The token's place in its segment, from 0; 0 on padding. */
  readonly positions: Int32Array;
  /** 1 where the token here is a prediction target that counts, else 0. */
  readonly lossMask: Float32Array;
  readonly batch: number;
  readonly time: number;
}

/** One sequence to be put into a batch. */
export interface Row {
  readonly tokens: ArrayLike<number>;
  /**
   * 1 for each token that counts as a prediction target. Without it all count but the first of each segment, which
   * nothing precedes.
   */
  readonly lossMask?: ArrayLike<number>;
  /** The segment of each token, numbered from 1. Without it the row is one segment. */
  readonly segments?: ArrayLike<number>;
}

export interface PadOptions {
  readonly padId: number;
  /** `time` is rounded up to a multiple of this, so that few shapes occur. Default 8. */
  readonly multipleOf?: number;
  /** But not above this: the model's context. */
  readonly atMost?: number;
  /** Sets `time`, instead of the longest row. */
  readonly length?: number;
}

/**
 * Rows of different lengths as one batch, padded on the right.
 *
 * @throws RangeError when there is no row, a row is longer than `length` or `atMost`, or a mask does not match its tokens.
 */
export function padRight(rows: ReadonlyArray<Row>, options: PadOptions): TokenBatch {
  const { padId, multipleOf = 8, atMost = Number.POSITIVE_INFINITY } = options;
  if (rows.length === 0) throw new RangeError("Cannot pad rows: at least one is required, got none");
  const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens.length), 1);
  const time = options.length ?? Math.min(Math.ceil(longest / multipleOf) * multipleOf, atMost);
  if (longest > time)
    throw new RangeError(`Cannot pad rows: they must have at most ${time} tokens, got ${longest}`);

  const cells = rows.length * time;
  const batch = {
    ids: new Int32Array(cells).fill(padId),
    segments: new Int32Array(cells),
    positions: new Int32Array(cells),
    lossMask: new Float32Array(cells),
    batch: rows.length,
    time,
  };
  rows.forEach((row, i) => {
    writeRow(batch, i * time, row);
  });
  return batch;
}

function writeRow(batch: TokenBatch, start: number, { tokens, lossMask, segments }: Row): void {
  for (const [name, values] of Object.entries({ lossMask, segments })) {
    if (values !== undefined && values.length !== tokens.length)
      throw new RangeError(
        `Cannot pad rows: ${name} must match tokens [${tokens.length}], got [${values.length}]`,
      );
  }
  let position = 0;
  for (let t = 0; t < tokens.length; t++) {
    const segment = segments?.[t] ?? 1;
    position = t > 0 && segment === batch.segments[start + t - 1] ? position + 1 : 0;
    batch.ids[start + t] = tokens[t]!;
    batch.segments[start + t] = segment;
    batch.positions[start + t] = position;
    batch.lossMask[start + t] = lossMask?.[t] ?? (position > 0 ? 1 : 0);
  }
}
