import { InvalidInput } from "@rlhf/core/errors";
import { fold, type Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { minibatches } from "@rlhf/data/minibatches";
import {
  type AdamwState,
  cosine,
  disposeAdamw,
  initAdamw,
  totalLoss,
  trainLoop,
  trainStep,
} from "@rlhf/optim";
import type { ForwardOptions, Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import { lossesOf, type Prediction } from "./_prediction.ts";
import type { PretrainConfig } from "./config.ts";

/** What both objectives share: everything but what a model is shown of a row and what it should say. */
interface FitInput<Example> {
  readonly stage: string;
  readonly model: Model;
  readonly rows: ReadonlyArray<Tokens>;
  readonly validation: ReadonlyArray<Tokens>;
  readonly config: PretrainConfig;
  readonly key: Key;
  /** What the model is shown of a row; the same key shows the same. */
  readonly example: (row: Tokens, key: Key) => Example;
  readonly predict: (examples: ReadonlyArray<Example>, options: ForwardOptions) => Prediction;
}

/** Trains the model in place and returns its validation loss. */
export const fit = Effect.fnUntraced(function* <Example>(input: FitInput<Example>) {
  yield* checkInput(input);
  return yield* Effect.acquireUseRelease(
    Effect.sync(() => initAdamw(input.model.params)),
    (state) => fitWith(state, input),
    (state) => Effect.sync(() => disposeAdamw(state)),
  );
});

const fitWith = <Example>(state: AdamwState, input: FitInput<Example>) => {
  const { model, rows, config, key } = input;
  const { steps, batchSize, weightDecay, maxGradNorm } = config;
  const schedule = cosine({
    peak: config.learningRate,
    total: steps,
    warmup: config.warmupSteps,
    floorShare: config.floorShare,
  });
  const stepsPerEpoch = Math.ceil(rows.length / batchSize);
  const predictions = (of: ReadonlyArray<Tokens>, examplesKey: Key, dropoutKey?: Key) =>
    chunks(
      of.map((row, i) => input.example(row, fold(examplesKey, i))),
      config.microBatchSize,
    ).map((part, i) =>
      // Pretraining has no dropout of its own; an adapter has.
      input.predict(part, dropoutKey ? { dropout: { rate: 0, key: fold(dropoutKey, i) } } : {}),
    );
  const validation = predictions(input.validation, fold(key, "validation"));

  const train = Effect.fnUntraced(function* (index: number) {
    const epochKey = fold(fold(key, "epoch"), Math.floor(index / stepsPerEpoch));
    const members = minibatches(epochKey, rows.length, batchSize)[index % stepsPerEpoch]!;
    const batch = predictions(
      Array.from(members, (member) => rows[member]!),
      fold(fold(key, "examples"), index),
      fold(fold(key, "dropout"), index),
    );
    const learningRate = schedule(index);
    const started = performance.now();
    const { loss, gradNorm } = yield* Effect.promise(() =>
      trainStep({
        params: model.params,
        state,
        losses: lossesOf(batch),
        learningRate,
        weightDecay,
        maxGradNorm,
      }),
    );
    const tokens = members.reduce((sum, member) => sum + rows[member]!.length, 0);
    const tokensPerSecond = tokens / ((performance.now() - started) / 1000);
    return { metrics: { loss, gradNorm, learningRate, tokensPerSecond }, tokens };
  });

  const validate = Effect.map(
    Effect.suspend(() => totalLoss(lossesOf(validation))),
    (validationLoss) => ({ validationLoss, validationPerplexity: Math.exp(validationLoss) }),
  );

  return Effect.map(
    trainLoop({
      stage: input.stage,
      steps,
      memory: { variables: { model: model.params }, optimizers: { optimizer: state } },
      step: Effect.fnUntraced(function* (index: number) {
        const { metrics, tokens } = yield* train(index);
        const due = (index + 1) % config.evaluateEvery === 0 || index + 1 === steps;
        return { metrics: due ? { ...metrics, ...(yield* validate) } : metrics, tokens };
      }),
    }),
    (metrics) => metrics.validationLoss!,
  );
};

function checkInput<Example>({ model, rows, validation }: FitInput<Example>) {
  const { contextLength } = model.config;
  const problems = Object.entries({ "training text": rows, "validation text": validation }).flatMap(
    ([where, members]) => {
      const longest = members.reduce((most, row) => Math.max(most, row.length), 0);
      if (longest === 0) return [{ where, problem: "there is none", remedy: "give at least two tokens" }];
      if (longest <= contextLength) return [];
      return [
        {
          where,
          problem: `a sequence has ${longest} tokens, the model's context ${contextLength}`,
          remedy: "cut long sequences or use a model with a longer context",
        },
      ];
    },
  );
  return problems.length > 0 ? Effect.fail(new InvalidInput({ problems })) : Effect.void;
}

function chunks<T>(items: ReadonlyArray<T>, size: number): ReadonlyArray<ReadonlyArray<T>> {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
