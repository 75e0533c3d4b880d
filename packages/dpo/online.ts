import * as banditEnv from "@rlhf/bandit-env";
import {
  type Metrics,
  type OnlineReport,
  onlineLoop,
  onlineReport,
  Reference,
  Scorer,
  scopedTensors,
  selectRows,
  stopwatch,
  trainingRollout,
} from "@rlhf/bandit-env";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import { requireFinite } from "@rlhf/core/require_finite";
import { minibatches } from "@rlhf/data/minibatches";
import {
  type AdamwState,
  constantWithWarmup,
  disposeAdamw,
  initAdamw,
  type Memory,
  trainStep,
} from "@rlhf/optim";
import { decidedPairs } from "@rlhf/reward/decided_pairs";
import { cloneModel, disposeModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { chunks } from "./_chunks.ts";
import type { OnlineDpoConfig } from "./config.ts";
import { preferenceObjective } from "./preference_objective.ts";

export { Reference, Scorer };

/** Everything that a run remembers from one iteration to the next. */
export interface OnlineDpoState {
  /** Iterations done. */
  readonly iteration: number;
  readonly policy: Model;
  readonly optimizer: AdamwState;
}

/** The state before the first iteration, with a copy of the policy. Free it with {@link disposeState}. */
export function initState(policy: Model): OnlineDpoState {
  const trained = cloneModel(policy);
  return { iteration: 0, policy: trained, optimizer: initAdamw(trained.params) };
}

export function disposeState(state: OnlineDpoState): void {
  disposeModel(state.policy);
  disposeAdamw(state.optimizer);
}

/** All of a state, for the run's checkpoints. */
function memoryOf(state: Ref.Ref<OnlineDpoState>): Memory {
  const { policy, optimizer } = Ref.getUnsafe(state);
  return {
    variables: { policy: policy.params },
    optimizers: { optimizer },
    values: {
      save: () => Ref.getUnsafe(state).iteration,
      restore: (iteration: number) => Effect.runSync(Ref.update(state, (now) => ({ ...now, iteration }))),
    },
  };
}

/** The run that a {@link step} belongs to; {@link trainOnlineDpo} provides it. */
export class Learner extends Context.Service<
  Learner,
  {
    readonly config: OnlineDpoConfig;
    /** The end-of-sequence token. */
    readonly eos: number;
    readonly key: Key;
    readonly state: Ref.Ref<OnlineDpoState>;
  }
>()("@rlhf/dpo/Learner") {}

export interface TrainOnlineDpoOptions<E = never, R = never> {
  readonly state: OnlineDpoState;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  readonly config: OnlineDpoConfig;
  /** A tokenizer's `specials` will do. */
  readonly specials: { readonly eos: number };
  readonly key: Key;
  /** Text of tokens, for the tables of sample responses. */
  readonly decode: (tokens: Tokens) => string;
  /** Metrics of your own, such as `gold`: a reward that training never sees, for the guard against reward hacking. */
  readonly measure?: (report: OnlineReport) => Effect.Effect<Metrics, E, R>;
  /** Evaluates the policy, say. */
  readonly afterIteration?: (state: OnlineDpoState, report: OnlineReport) => Effect.Effect<void, E, R>;
}

/**
 * Online DPO (Guo et al. 2024, arXiv:2402.04792): the policy's own fresh responses are ranked by the `Scorer`, whoever that is,
 * and trained on with any {@link PreferenceLoss}, from `state` until `config.iterations` are done or the KL budget is spent. The
 * model and the optimizer in `state` are trained in place; the result is the state to go on from, which is kept in the run's checkpoints.
 *
 * Fails with `NonFiniteLoss` when a score, a loss or a gradient is NaN or infinite, with `ScoreFailed` when there is no
 * verdict.
 */
export const trainOnlineDpo = Effect.fn("dpo.trainOnline")(function* <E = never, R = never>(
  options: TrainOnlineDpoOptions<E, R>,
) {
  const { prompts, config, specials, decode, measure, afterIteration } = options;
  const key = fold(options.key, stage);
  const state = yield* Ref.make(options.state);
  const learner = { config, eos: specials.eos, key, state };
  yield* onlineLoop({
    ...config,
    stage,
    iteration: Effect.map(Ref.get(state), ({ iteration }) => iteration),
    memory: memoryOf(state),
    prompts,
    promptsPerIteration: config.batchSize / config.responsesPerPrompt,
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

const stage = "online-dpo";

/**
 * One iteration: some responses to each prompt, their verdicts, updates. It can be interrupted while it samples and while
 * it waits for scores, never with weights half updated.
 */
export const step = Effect.fn("dpo.step")(
  function* (prompts: ReadonlyArray<EncodedPrompt>) {
    const { time, seconds } = stopwatch();
    const rollout = yield* time("rollout", rolloutGroups(prompts)); // tokens, mask, oldLogProbs
    const batch = yield* time("score", judge(rollout)); // + refLogProbs, scores
    const updates = yield* time("update", update(batch));
    const { state } = yield* Learner;
    yield* Ref.update(state, (before) => ({ ...before, iteration: before.iteration + 1 }));
    return onlineReport({ batch, klCoefficient: 0, updates, seconds });
  },
  Effect.scoped, // every tensor above is freed here
  Effect.uninterruptible,
);

const rolloutGroups = Effect.fnUntraced(function* (prompts: ReadonlyArray<EncodedPrompt>) {
  const { config, eos, key, state } = yield* Learner;
  const { policy, iteration } = yield* Ref.get(state);
  return yield* trainingRollout({
    ...config,
    policy,
    prompts: prompts.flatMap((prompt) => new Array<EncodedPrompt>(config.responsesPerPrompt).fill(prompt)),
    eos,
    key: fold(fold(key, "rollout"), iteration),
  });
});

const judge = Effect.fnUntraced(function* (rollout: banditEnv.TrainingRollout) {
  const { config, state } = yield* Learner;
  const reference = yield* Reference;
  const score = yield* Scorer;
  const { iteration } = yield* Ref.get(state);
  const { missingEosPenalty } = config;
  const judged = yield* Effect.interruptible(banditEnv.judge(rollout, { score, missingEosPenalty }));
  yield* banditEnv.requireFiniteScores(judged.scores, { stage, step: iteration + 1 });
  return yield* banditEnv.compareToReference(judged, { reference, ...config });
});

/** A pass over the prompts whose responses do not all score alike. Metrics are means over the optimizer steps. */
const update = Effect.fnUntraced(function* (
  batch: banditEnv.Rollout & banditEnv.Verdicts & banditEnv.ReferenceKl,
) {
  const { config, key, state } = yield* Learner;
  const { policy, optimizer, iteration } = yield* Ref.get(state);
  const { responsesPerPrompt, minibatchSize, microBatchSize, learningRate: peak, maxGradNorm } = config;
  const { refLogProbs } = yield* scopedTensors(() => ({
    refLogProbs: tf.sum(batch.refLogProbs, 1) as tf.Tensor1D,
  }));
  const ranks = chunks([...batch.scores], responsesPerPrompt).map(ranksOf);
  const decided = ranks.flatMap((row, prompt) => (decidedPairs(row).length > 0 ? [prompt] : []));
  const updates: Array<Readonly<Record<string, number>>> = [];
  const order = minibatches(fold(fold(key, "update"), iteration), decided.length, minibatchSize);
  for (const minibatch of order) {
    const prompts = Array.from(minibatch, (member) => decided[member]!);
    const losses = chunks(prompts, microBatchSize).map((part) => () => {
      const members = Int32Array.from(
        part.flatMap((prompt) =>
          Array.from({ length: responsesPerPrompt }, (_, i) => prompt * responsesPerPrompt + i),
        ),
      );
      const responses = {
        episodes: Array.from(members, (member) => batch.episodes[member]!),
        ...selectRows({ mask: batch.mask, refLogProbs }, members),
        rankings: part.map((prompt) => [ranks[prompt]!]),
      };
      return preferenceObjective(policy, responses, {
        ...config,
        share: part.length / prompts.length,
        kl: Math.max(0, batch.meanKl),
      });
    });
    const learningRate = constantWithWarmup({ peak, warmup: config.warmupIterations })(iteration);
    const { loss, gradNorm, metrics } = yield* Effect.promise(() =>
      trainStep({ params: policy.params, state: optimizer, losses, learningRate, maxGradNorm }),
    );
    yield* requireFinite({ stage, step: iteration + 1 }, { loss, gradNorm });
    updates.push({ policyLoss: loss, gradNorm, ...metrics });
    yield* Effect.yieldNow; // the math was synchronous: others have their turn
  }
  const names = Object.keys(updates[0] ?? {});
  const mean = (name: string) => updates.reduce((sum, metrics) => sum + metrics[name]!, 0) / updates.length;
  return {
    decidedShare: decided.length / ranks.length,
    ...Object.fromEntries(names.map((name) => [name, mean(name)])),
  };
});

/** Rank 1 for the highest score, equal scores share a rank. */
function ranksOf(scores: ReadonlyArray<number>): Array<number> {
  return scores.map((score) => 1 + scores.filter((other) => other > score).length);
}
