/** A learning rate as a function of the step, the first step being 0. */
export type Schedule = (step: number) => number;

/**
 * The same rate throughout, reached in a straight line over the first `warmup` steps, starting at `warmupStart` of
 * it. InstructGPT's PPO warms up over 10 iterations from 1/10 (Ouyang et al. 2022, appendix C.4).
 */
export function constantWithWarmup(options: {
  readonly peak: number;
  readonly warmup: number;
  readonly warmupStart?: number;
}): Schedule {
  const { peak, warmup, warmupStart = 0.1 } = options;
  return (step) => peak * warmupShare(step, warmup, warmupStart);
}

/**
 * Half a cosine from `peak` down to `floorShare · peak` at the last of `total` steps, after a linear warm-up from peak/(warmup + 1):
 *
 *     η(s) = peak · (f + (1 − f) · (1 + cos(π · (s − warmup) / (total − 1 − warmup))) / 2)
 *
 * InstructGPT uses f = 0.1 without warm-up for supervised fine-tuning and reward models (Ouyang et al. 2022, C.1, C.2).
 */
export function cosine(options: {
  readonly peak: number;
  readonly total: number;
  readonly floorShare?: number;
  readonly warmup?: number;
}): Schedule {
  const { peak, total, floorShare = 0.1, warmup = 0 } = options;
  return (step) => {
    if (step < warmup) return peak * warmupShare(step, warmup);
    const shape = (1 + Math.cos(Math.PI * decayProgress(step, total, warmup))) / 2;
    return peak * (floorShare + (1 - floorShare) * shape);
  };
}

/** A straight line from `peak` down to `floorShare · peak` at the last of `total` steps, after a linear warm-up. */
export function linear(options: {
  readonly peak: number;
  readonly total: number;
  readonly floorShare?: number;
  readonly warmup?: number;
}): Schedule {
  const { peak, total, floorShare = 0, warmup = 0 } = options;
  return (step) => {
    if (step < warmup) return peak * warmupShare(step, warmup);
    return peak * (1 - (1 - floorShare) * decayProgress(step, total, warmup));
  };
}

/** Rises in a straight line from `start` at step 0 to 1 at step `warmup`. */
function warmupShare(step: number, warmup: number, start = 1 / (warmup + 1)): number {
  return step >= warmup ? 1 : start + (1 - start) * (step / warmup);
}

/** 0 at the end of the warm-up, 1 at the last step and after it. */
function decayProgress(step: number, total: number, warmup: number): number {
  return Math.min(1, Math.max(0, step - warmup) / Math.max(1, total - 1 - warmup));
}
