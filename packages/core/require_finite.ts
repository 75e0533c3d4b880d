import * as Effect from "effect/Effect";
import { Checkpoints } from "./checkpoints.ts";
import { NonFiniteLoss } from "./errors.ts";

/** Fails with `NonFiniteLoss` at the first metric that is NaN or infinite, and names the run's last good checkpoint. */
export const requireFinite = Effect.fnUntraced(function* (
  where: { readonly stage: string; readonly step: number },
  metrics: Readonly<Record<string, number>>,
) {
  for (const [metric, value] of Object.entries(metrics)) {
    if (Number.isFinite(value)) continue;
    const lastGood = (yield* Checkpoints).lastGood();
    return yield* new NonFiniteLoss({ ...where, metric, value, lastGood });
  }
});
