import { NonNegative, Positive } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** How the KL coefficient β moves: the two kinds of `KlController` in `@rlhf/kl`. */
export const KlControl = Schema.Union([
  Schema.TaggedStruct("Fixed", { coefficient: NonNegative }),
  Schema.TaggedStruct("Adaptive", { coefficient: Positive, target: Positive, horizon: Positive }),
]);
