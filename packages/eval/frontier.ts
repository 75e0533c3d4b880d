/** A point of the reward–KL frontier: `kl` in nats from the initial policy, `reward` as gained over it. */
export interface FrontierPoint {
  readonly kl: number;
  readonly reward: number;
}

export interface FrontierFit {
  readonly alpha: number;
  readonly beta: number;
  /** Share of the variance of the rewards that the fit explains. */
  readonly rSquared: number;
  /** KL at which the fitted reward is highest; absent where the fit never turns (β ≤ 0) or never rises. */
  readonly peakKl?: number;
  /** The fitted reward at a KL. */
  readonly reward: (kl: number) => number;
}

/**
 * Least-squares fit of how reward grows, then turns, as a policy leaves its start (Gao et al. 2022,
 * "Scaling laws for reward model overoptimization", section 3), with d = √KL(π‖π₀):
 *
 * reinforcement learning R(d) = d(α − β log d), peak at d = exp(α/β − 1) ·
 * best-of-n R(d) = d(α − βd), peak at d = α/2β
 *
 * α is the gain at the start, β the over-optimization: a learned reward has a small β, the gold reward a large one.
 * An estimated KL ≤ 0 is read as 0, where R is 0 by definition.
 */
export function fitFrontier(
  points: ReadonlyArray<FrontierPoint>,
  form: "reinforcement" | "bestOfN" = "reinforcement",
): FrontierFit {
  const decay = (d: number) => (form === "bestOfN" ? d * d : d > 0 ? d * Math.log(d) : 0);
  const distance = (kl: number) => Math.sqrt(Math.max(kl, 0));
  if (new Set(points.map(({ kl }) => distance(kl)).filter((d) => d > 0)).size < 2) {
    throw new RangeError(
      "Cannot fit the frontier: points at two different KL > 0 are required, got " +
        `[${points.map(({ kl }) => kl).join(", ")}]`,
    );
  }
  // R = α·d − β·decay(d) is linear in α and β: two normal equations.
  let [dd, dg, gg, dr, gr] = [0, 0, 0, 0, 0];
  for (const { kl, reward } of points) {
    const d = distance(kl);
    const g = -decay(d);
    dd += d * d;
    dg += d * g;
    gg += g * g;
    dr += d * reward;
    gr += g * reward;
  }
  const determinant = dd * gg - dg * dg;
  const alpha = (gg * dr - dg * gr) / determinant;
  const beta = (dd * gr - dg * dr) / determinant;
  const reward = (kl: number) => alpha * distance(kl) - beta * decay(distance(kl));
  const mean = points.reduce((sum, point) => sum + point.reward, 0) / points.length;
  const residual = points.reduce((sum, point) => sum + (point.reward - reward(point.kl)) ** 2, 0);
  const variance = points.reduce((sum, point) => sum + (point.reward - mean) ** 2, 0);
  const peak = form === "bestOfN" ? alpha / (2 * beta) : Math.exp(alpha / beta - 1);
  return {
    alpha,
    beta,
    rSquared: variance > 0 ? 1 - residual / variance : 1,
    ...(beta > 0 && peak > 0 ? { peakKl: peak ** 2 } : {}),
    reward,
  };
}
