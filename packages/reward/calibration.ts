import { leads, type Ranked } from "./leads.ts";

/** The pairs whose predicted probability lies in [`from`, `to`). */
export interface CalibrationBin {
  readonly from: number;
  readonly to: number;
  readonly pairs: number;
  /** Mean predicted probability that the response with the higher score is the preferred one. */
  readonly predicted: number;
  /** Share of the pairs in which it is. */
  readonly observed: number;
}

export interface Calibration {
  readonly bins: ReadonlyArray<CalibrationBin>;
  /** Σ over bins of `pairs/all · |observed − predicted|`; NaN without pairs. */
  readonly expectedCalibrationError: number;
}

/**
 * Whether score differences mean what the Bradley–Terry model says: of the pairs with score difference Δ, a share
 * `σ(|Δ|)` should prefer the response that scores higher. Pairs are sorted by `σ(|Δ|)` into bins of equal width between
 * 0.5 and 1; empty bins are left out. Which response of a pair comes first therefore does not matter.
 *
 * Reward-model calibration as in Bai et al. 2022, arXiv:2204.05862, section 3.3; expected calibration error as in
 * Guo et al. 2017, arXiv:1706.04599, equation 3.
 *
 * @param scores for each ranking one score per response
 * @param bins how many bins
 * @throws RangeError when a ranking and its scores differ in length, or `bins` is no positive integer
 */
export function calibration({
  rankings,
  scores,
  bins = 10,
}: {
  readonly rankings: ReadonlyArray<Ranked>;
  readonly scores: ReadonlyArray<ArrayLike<number>>;
  readonly bins?: number;
}): Calibration {
  if (!Number.isInteger(bins) || bins < 1) {
    throw new RangeError(`Cannot measure calibration: bins must be a positive integer, got ${bins}`);
  }
  const pairs = leads(rankings, scores).map(({ lead }) => ({
    predicted: 1 / (1 + Math.exp(-Math.abs(lead))),
    observed: lead > 0 ? 1 : lead === 0 ? 0.5 : 0,
  }));
  const binned = Array.from({ length: bins }, (_, bin) => {
    const inBin = pairs.filter(
      ({ predicted }) => Math.min(bins - 1, Math.floor((predicted - 0.5) * 2 * bins)) === bin,
    );
    return {
      from: 0.5 + bin / (2 * bins),
      to: 0.5 + (bin + 1) / (2 * bins),
      pairs: inBin.length,
      predicted: inBin.reduce((sum, pair) => sum + pair.predicted, 0) / inBin.length,
      observed: inBin.reduce((sum, pair) => sum + pair.observed, 0) / inBin.length,
    };
  }).filter((bin) => bin.pairs > 0);
  const weighted = binned.reduce((sum, bin) => sum + bin.pairs * Math.abs(bin.observed - bin.predicted), 0);
  return { bins: binned, expectedCalibrationError: weighted / pairs.length };
}
