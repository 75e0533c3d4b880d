import type { Key } from "@rlhf/core/random";
import * as Context from "effect/Context";
import type * as Ref from "effect/Ref";
import type { Method } from "./method.ts";
import type { PolicyGradientState } from "./state.ts";

export { Reference, Scorer } from "@rlhf/bandit-env";

/** The run that a {@link step} belongs to; `train` provides it. */
export class Learner extends Context.Service<
  Learner,
  {
    readonly method: Method;
    /** The end-of-sequence token. */
    readonly eos: number;
    readonly key: Key;
    readonly state: Ref.Ref<PolicyGradientState>;
  }
>()("@rlhf/policy-gradient/Learner") {}
