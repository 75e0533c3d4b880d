import { NonFiniteLoss } from "@rlhf/core/errors";
import { Progress } from "@rlhf/core/progress";
import { fold, type Key, permutation } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";
import * as Ref from "effect/Ref";
import { type PpoConfig, stageName } from "./config.ts";
import { Learner } from "./services.ts";
import type { PpoState } from "./state.ts";
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
  /** Saves the state, say, or evaluates the policy. */
  readonly afterIteration?: (state: PpoState, report: PpoReport) => Effect.Effect<void, E, R>;
}

/**
 * Trains a policy with PPO, or with PPO-ptx when `ptxCoefficient` is above 0 (Ouyang et al. 2022, section 3.5), from
 * `state` until `config.iterations` are done or the KL budget is spent. The models and optimizers in `state` are trained in
 * place; the result is the state to go on from. Every prompt is used once before any is used again.
 *
 * Fails with `RatioNotOne` when log-probabilities do not belong to the episodes, with `NonFiniteLoss` when a score, a
 * loss or a gradient is NaN or infinite, with `ScoreFailed` when there is no verdict.
 */
export const train = Effect.fn("ppo.train")(function* <E = never, R = never>(options: TrainOptions<E, R>) {
  const { prompts, config, specials, decode, afterIteration } = options;
  if (prompts.length === 0) throw new RangeError("Cannot train: at least one prompt is required, got none");
  const stage = stageName(config);
  const key = fold(options.key, "ppo");
  const progress = yield* Progress;
  const folder = yield* RunFolder;
  const state = yield* Ref.make(options.state);
  const total = config.iterations;
  let metrics: PpoReport["metrics"] = {};
  yield* progress.publish({ _tag: "Started", stage, total, unit: "iteration" });
  for (let done = options.state.iteration; done < total; done++) {
    const report = yield* step(promptsOf(done, prompts, config.batchSize, key)).pipe(
      Effect.provideService(Learner, { config, eos: specials.eos, key, state }),
    );
    metrics = report.metrics;
    for (const [metric, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) return yield* new NonFiniteLoss({ stage, step: done + 1, metric, value });
    }
    const tokens = metrics.responseLength! * report.episodes.length;
    yield* folder.appendMetrics(stage, done + 1, metrics);
    yield* progress.publish({ _tag: "Step", stage, step: done + 1, total, metrics, tokens });
    if (done % config.sampleEvery === 0) {
      const rows = sampleRows(report, decode, config.samples);
      const title = `Samples of iteration ${done + 1}`;
      yield* progress.publish({ _tag: "Table", stage, title, rows });
      yield* folder.appendSamples(rows.map((row) => ({ stage, step: done + 1, ...row })));
    }
    if (afterIteration !== undefined) yield* afterIteration(yield* Ref.get(state), report);
    if (metrics.kl! >= (config.klBudget ?? Number.POSITIVE_INFINITY)) {
      const message = `stopped after ${done + 1} iterations: the KL to the reference has reached its budget`;
      yield* progress.publish({ _tag: "Note", stage, message });
      break;
    }
  }
  yield* progress.publish({ _tag: "Finished", stage, metrics });
  return yield* Ref.get(state);
});

/** The prompts of an iteration: the next `count` of an endless series of permutations. */
function promptsOf(
  iteration: number,
  prompts: ReadonlyArray<EncodedPrompt>,
  count: number,
  key: Key,
): Array<EncodedPrompt> {
  const orders = new Map<number, Int32Array>();
  return Array.from({ length: count }, (_, i) => {
    const position = iteration * count + i;
    const epoch = Math.floor(position / prompts.length);
    const order = orders.get(epoch) ?? permutation(fold(fold(key, "prompts"), epoch), prompts.length);
    orders.set(epoch, order);
    return prompts[order[position % prompts.length]!]!;
  });
}

function sampleRows(report: PpoReport, decode: (tokens: Tokens) => string, count: number) {
  return report.episodes.slice(0, count).map(({ prompt, response }, i) => ({
    prompt: decode(prompt.tokens),
    response: decode(response.tokens),
    score: report.scores[i]!,
    kl: report.sequenceKl[i]!,
  }));
}
