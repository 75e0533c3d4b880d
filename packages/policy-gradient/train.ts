import { type Metrics, type OnlineReport, onlineLoop } from "@rlhf/bandit-env";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import type { Method } from "./method.ts";
import { Learner } from "./services.ts";
import { memoryOf, type PolicyGradientState } from "./state.ts";
import { step } from "./step.ts";

export interface TrainOptions<Config, E = never, R = never> {
  readonly state: PolicyGradientState;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  readonly config: Config;
  /** A tokenizer's `specials` will do. */
  readonly specials: { readonly eos: number };
  readonly key: Key;
  /** Text of tokens, for the tables of sample responses. */
  readonly decode: (tokens: Tokens) => string;
  /** Metrics of your own, such as `gold`: a reward that training never sees, for the guard against reward hacking. */
  readonly measure?: (report: OnlineReport) => Effect.Effect<Metrics, E, R>;
  /** Saves the state, say, or evaluates the policy. */
  readonly afterIteration?: (state: PolicyGradientState, report: OnlineReport) => Effect.Effect<void, E, R>;
}

/**
 * Trains a policy with a {@link Method} from `state` until its iterations are done or the KL budget is spent. The model and
 * the optimizer in `state` are trained in place; the result is the state to go on from. Every prompt is used once
 * before any is used again. The state is kept in the run's checkpoints; a run that goes on overwrites `state` with the newest.
 *
 * Fails with `RatioNotOne` when log-probabilities do not belong to the episodes, with `NonFiniteLoss` when a score, a
 * loss or a gradient is NaN or infinite, with `ScoreFailed` when there is no verdict.
 */
export const train = Effect.fn("policy-gradient.train")(function* <E = never, R = never>(
  method: Method,
  options: Omit<TrainOptions<unknown, E, R>, "config">,
) {
  const { prompts, specials, decode, measure, afterIteration } = options;
  const { name: stage, config, groupSize } = method;
  const key = fold(options.key, stage);
  const state = yield* Ref.make(options.state);
  const learner = { method, eos: specials.eos, key, state };
  yield* onlineLoop({
    ...config,
    stage,
    iteration: Effect.map(Ref.get(state), ({ iteration }) => iteration),
    memory: memoryOf(state),
    prompts,
    promptsPerIteration: config.batchSize / groupSize,
    key,
    decode,
    measure,
    step: (batch) => step(batch).pipe(Effect.provideService(Learner, learner)),
    afterIteration: Effect.fnUntraced(function* (report: OnlineReport) {
      if (afterIteration !== undefined) yield* afterIteration(yield* Ref.get(state), report);
    }),
  });
  return yield* Ref.get(state);
});
