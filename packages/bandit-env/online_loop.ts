import { Progress } from "@rlhf/core/progress";
import { fold, type Key, permutation } from "@rlhf/core/random";
import type { EncodedPrompt, Tokens } from "@rlhf/core/records";
import { requireFinite } from "@rlhf/core/require_finite";
import { RunFolder } from "@rlhf/core/run_folder";
import { keepMemory, type Memory } from "@rlhf/optim";
import * as Effect from "effect/Effect";
import { guarded, warnings } from "./guards.ts";
import type { OnlineReport } from "./online_report.ts";

export type Metrics = OnlineReport["metrics"];

export interface OnlineLoopOptions<E, R, AfterE, AfterR> {
  readonly stage: string;
  /** Iterations that the state has behind it, also after it was put back. */
  readonly iteration: Effect.Effect<number>;
  /** All of the state. */
  readonly memory: Memory;
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
  /** Metrics of the caller's own. `gold` is taken for a reward that training never sees. */
  readonly measure?: ((report: OnlineReport) => Effect.Effect<Metrics, AfterE, AfterR>) | undefined;
  readonly afterIteration: (report: OnlineReport) => Effect.Effect<void, AfterE, AfterR>;
}

/**
 * The loop of online training: `step` gets the prompts of each iteration until all are done or the KL budget is spent,
 * and the run folder and `Progress` hear of it, of {@link warnings} too, each once. Every prompt is used once before any
 * is used again; which come when is a function of the key.
 *
 * The state is kept in the run's checkpoints, at the end and when the loop is interrupted too; a run that goes on starts
 * with the newest put back.
 *
 * Fails with `NonFiniteLoss` at the first metric that is NaN or infinite.
 */
export const onlineLoop = Effect.fn("bandit-env.onlineLoop")(function* <E, R, AfterE, AfterR>(
  options: OnlineLoopOptions<E, R, AfterE, AfterR>,
) {
  const { stage, iterations: total, prompts, promptsPerIteration, key, decode } = options;
  const { iteration, klBudget = Number.POSITIVE_INFINITY } = options;
  if (prompts.length === 0) throw new RangeError("Cannot train: at least one prompt is required, got none");
  const progress = yield* Progress;
  const folder = yield* RunFolder;
  const history: Array<Metrics> = [];
  const kept = yield* keepMemory(stage, withHistory(options.memory, history));
  let { metrics } = kept;
  const raised = new Set(
    history.flatMap((_, i) => warnings(history.slice(0, i + 1))).map(({ rule }) => rule),
  );

  const advance = Effect.gen(function* () {
    const done = yield* iteration;
    const step = done + 1;
    const found = yield* options.step(promptsOf(done, prompts, promptsPerIteration, key));
    const measured = options.measure === undefined ? {} : yield* options.measure(found);
    const report = { ...found, metrics: { ...found.metrics, ...measured } };
    ({ metrics } = report);
    yield* requireFinite({ stage, step }, metrics);
    const tokens = metrics.responseLength! * report.episodes.length;
    yield* folder.appendMetrics(stage, step, metrics);
    yield* progress.publish({ _tag: "Step", stage, step, total, metrics, tokens });
    history.push(guarded(metrics));
    for (const warning of warnings(history)) {
      if (raised.has(warning.rule)) continue;
      raised.add(warning.rule);
      yield* folder.appendWarning(stage, step, warning);
      yield* progress.publish({ _tag: "Warning", stage, step, ...warning });
    }
    if (done % options.sampleEvery === 0) {
      const rows = sampleRows(report, decode, options.samples);
      const title = `Samples of iteration ${step}`;
      yield* progress.publish({ _tag: "Table", stage, title, rows });
      yield* folder.appendSamples(rows.map((row) => ({ stage, step, ...row })));
    }
    yield* options.afterIteration(report);
    yield* kept.saveWhenDue(step, metrics);
  });
  const isSpent = () => (metrics.kl ?? 0) >= klBudget;
  const run = Effect.gen(function* () {
    while ((yield* iteration) < total && !isSpent()) {
      yield* Effect.interruptible(Effect.yieldNow); // between two iterations, where the state is whole
      yield* advance;
    }
  });
  const save = Effect.flatMap(iteration, (step) => kept.save(step, metrics));

  yield* progress.publish({ _tag: "Started", stage, total, unit: "iterations" });
  yield* run.pipe(
    Effect.uninterruptible, // but where the step allows it: while it samples and while it waits for scores
    Effect.onInterrupt(() => Effect.ignore(save)),
  );
  yield* save;
  if (isSpent()) {
    const message = `stopped after ${yield* iteration} iterations: the KL to the reference has reached its budget`;
    yield* progress.publish({ _tag: "Note", stage, message });
  }
  yield* progress.publish({ _tag: "Finished", stage, metrics });
});

/** A memory that has what the guards have seen besides. */
function withHistory(memory: Memory, history: Array<Metrics>): Memory {
  return {
    ...memory,
    values: {
      save: () => ({ history, state: memory.values?.save() }),
      restore: (saved: { readonly history: ReadonlyArray<Metrics>; readonly state: unknown }) => {
        history.push(...saved.history);
        memory.values?.restore(saved.state as never);
      },
    },
  };
}

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
