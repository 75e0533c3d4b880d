import { type Metrics, onlineLoop } from "@rlhf/bandit-env";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import type { Memory } from "@rlhf/optim";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { type PpoConfig, stageName } from "./config.ts";
import { Learner } from "./services.ts";
import { memoryOf, type PpoState } from "./state.ts";
import { type PpoReport, step } from "./step.ts";

export interface TrainOptions<E = never, R = never> {
  readonly state: PpoState;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  readonly config: PpoConfig;
  /** A tokenizer's `specials` will do. */
  readonly specials: { readonly eos: number };
  readonly key: Key;
  /** Text of tokens, for the tables of sample responses. */
  readonly decode: (tokens: Tokens) => string;
  /** Metrics of your own, such as `gold`: a reward that training never sees, for the guard against reward hacking. */
  readonly measure?: (report: PpoReport) => Effect.Effect<Metrics, E, R>;
  /** Saves the state, say, or evaluates the policy. */
  readonly afterIteration?: (state: PpoState, report: PpoReport) => Effect.Effect<void, E, R>;
  /** What `afterIteration` gathers, so that a run which goes on has it again. */
  readonly gathered?: NonNullable<Memory["values"]>;
}

/**
 * Trains a policy with PPO, or with PPO-ptx when `ptxCoefficient` is above 0 (Ouyang et al. 2022, section 3.5), from
 * `state` until `config.iterations` are done or the KL budget is spent. The models and optimizers in `state` are trained in
 * place; the result is the state to go on from. Every prompt is used once before any is used again. The state is kept in
 * the run's checkpoints, when training is interrupted too; a run that goes on overwrites `state` with the newest.
 *
 * Fails with `RatioNotOne` when log-probabilities do not belong to the episodes, with `NonFiniteLoss` when a score, a
 * loss or a gradient is NaN or infinite, with `ScoreFailed` when there is no verdict.
 */
export const train = Effect.fn("ppo.train")(function* <E = never, R = never>(options: TrainOptions<E, R>) {
  const { prompts, config, specials, decode, measure, afterIteration } = options;
  const key = fold(options.key, "ppo");
  const state = yield* Ref.make(options.state);
  const learner = { config, eos: specials.eos, key, state };
  yield* onlineLoop({
    ...config,
    stage: stageName(config),
    iteration: Effect.map(Ref.get(state), ({ iteration }) => iteration),
    memory: memoryOf(state, options.gathered),
    prompts,
    promptsPerIteration: config.batchSize,
    key,
    decode,
    measure,
    step: (batch) => step(batch).pipe(Effect.provideService(Learner, learner)),
    afterIteration: Effect.fnUntraced(function* (report: PpoReport) {
      if (afterIteration !== undefined) yield* afterIteration(yield* Ref.get(state), report);
    }),
  });
  return yield* Ref.get(state);
});
