/** The KL coefficient β and how it moves; a plain value, so it is saved and restored with the run. */
export type KlController = FixedKlController | AdaptiveKlController;

/** β never moves. */
export interface FixedKlController {
  readonly _tag: "Fixed";
  readonly coefficient: number;
}

/** β rises while the KL is above `target` nats a sequence and falls while it is below, the slower the longer `horizon`. */
export interface AdaptiveKlController {
  readonly _tag: "Adaptive";
  readonly coefficient: number;
  readonly target: number;
  /** In episodes. */
  readonly horizon: number;
}

/** A constant β. InstructGPT's is 0.02 (Ouyang et al. 2022, appendix C.4). */
export function fixedKl(coefficient = 0.02): FixedKlController {
  return { _tag: "Fixed", coefficient };
}

/** A β that steers towards a target KL. Defaults: target 6 nats, horizon 10,000 episodes, β₀ 0.15 (Ziegler et al. 2019). */
export function adaptiveKl(
  options: { readonly coefficient?: number; readonly target?: number; readonly horizon?: number } = {},
): AdaptiveKlController {
  const { coefficient = 0.15, target = 6, horizon = 10_000 } = options;
  if (!(target > 0) || !(horizon > 0)) {
    throw new RangeError(
      `Cannot control the KL: target and horizon must be above 0, got ${target} and ${horizon}`,
    );
  }
  return { _tag: "Adaptive", coefficient, target, horizon };
}

/**
 * The controller after a batch (Ziegler et al. 2019, section 2.2):
 *
 *     e = clip(KL / target − 1, −0.2, 0.2)      β ← β (1 + e · episodes / horizon)
 *
 * @param kl mean over the batch's sequences of the KL to the reference summed over tokens (k1, may be negative), in nats.
 * @param episodes how many sequences the batch held.
 */
export function updateKlController(
  controller: KlController,
  { kl, episodes }: { readonly kl: number; readonly episodes: number },
): KlController {
  if (controller._tag === "Fixed") return controller;
  const error = Math.min(0.2, Math.max(-0.2, kl / controller.target - 1));
  return {
    ...controller,
    coefficient: controller.coefficient * (1 + (error * episodes) / controller.horizon),
  };
}
