/**
 * KL divergence from the base policy of best-of-n sampling with a reward that never ties (Stiennon et al. 2020;
 * Gao et al. 2022, equation 1):
 *
 * KL(best of n ‖ base) = log n − (n − 1)/n
 */
export function bestOfNKl(n: number): number {
  if (!Number.isInteger(n) || n < 1) {
    throw new RangeError(`Cannot compute the KL of best-of-n: n must be an integer ≥ 1, got ${n}`);
  }
  return Math.log(n) - (n - 1) / n;
}
