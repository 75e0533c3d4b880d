import { NonFiniteLoss } from "@rlhf/core/errors";
import { Progress } from "@rlhf/core/progress";
import { fold, type Key, permutation } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import * as Effect from "effect/Effect";
import type { OnlineReport } from "./online_report.ts";

export interface OnlineLoopOptions<E, R, AfterE, AfterR> {
  readonly stage: string;
  /** Iterations that a resumed run has behind it. */
  readonly done: number;
  readonly iterations: number;
  readonly prompts: ReadonlyArray<EncodedPrompt>;
  /** How many of them an iteration gets. */
  readonly promptsPerIteration: number;
  /** Ends the run once the KL to the reference reaches this, in nats a sequence. */
  readonly klBudget?: number | undefined;
  readonly key: Key;
  /** Iterations between tables of sample responses, and the rows of such a table. */
  readonly sampleEvery: number;
  readonly samples: number;
  /** Text of tokens, for these tables. */
  readonly decode: (tokens: Tokens) => string;
  readonly step: (prompts: ReadonlyArray<EncodedPrompt>) => Effect.Effect<OnlineReport, E, R>;
  readonly afterIteration: (report: OnlineReport) => Effect.Effect<void, AfterE, AfterR>;
}

/**
 * The loop of online training: `step` gets the prompts of each iteration until all are done or the KL budget is spent,
 * and the run folder and `Progress` hear of it. Every prompt is used once before any is used again; which come when is
 * a function of the key.
 *
 * Fails with `NonFiniteLoss` at the first metric that is NaN or infinite.
 */
export const onlineLoop = Effect.fn("bandit-env.onlineLoop")(function* <E, R, AfterE, AfterR>(
  options: OnlineLoopOptions<E, R, AfterE, AfterR>,
) {
  const { stage, iterations: total, prompts, promptsPerIteration, key, decode } = options;
  if (prompts.length === 0) throw new RangeError("Cannot train: at least one prompt is required, got none");
  const progress = yield* Progress;
  const folder = yield* RunFolder;
  let metrics: OnlineReport["metrics"] = {};
  yield* progress.publish({ _tag: "Started", stage, total, unit: "iteration" });
  for (let done = options.done; done < total; done++) {
    const report = yield* options.step(promptsOf(done, prompts, promptsPerIteration, key));
    metrics = report.metrics;
    for (const [metric, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) return yield* new NonFiniteLoss({ stage, step: done + 1, metric, value });
    }
    const tokens = metrics.responseLength! * report.episodes.length;
    yield* folder.appendMetrics(stage, done + 1, metrics);
    yield* progress.publish({ _tag: "Step", stage, step: done + 1, total, metrics, tokens });
    if (done % options.sampleEvery === 0) {
      const rows = sampleRows(report, decode, options.samples);
      const title = `Samples of iteration ${done + 1}`;
      yield* progress.publish({ _tag: "Table", stage, title, rows });
      yield* folder.appendSamples(rows.map((row) => ({ stage, step: done + 1, ...row })));
    }
    yield* options.afterIteration(report);
    if (metrics.kl! >= (options.klBudget ?? Number.POSITIVE_INFINITY)) {
      const message = `stopped after ${done + 1} iterations: the KL to the reference has reached its budget`;
      yield* progress.publish({ _tag: "Note", stage, message });
      break;
    }
  }
  yield* progress.publish({ _tag: "Finished", stage, metrics });
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

function sampleRows(report: OnlineReport, decode: (tokens: Tokens) => string, count: number) {
  return report.episodes.slice(0, count).map(({ prompt, response }, i) => ({
    prompt: decode(prompt.tokens),
    response: decode(response.tokens),
    score: report.scores[i]!,
    kl: report.sequenceKl[i]!,
  }));
}
