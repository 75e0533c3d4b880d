import { InvalidInput } from "@rlhf/core/errors";
import { Progress } from "@rlhf/core/progress";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedDemonstration } from "@rlhf/core/records";
import { demonstrationRow } from "@rlhf/data/encode";
import { minibatches } from "@rlhf/data/minibatches";
import { pack } from "@rlhf/data/pack";
import type { TokenBatch } from "@rlhf/data/token_batch";
import { type AdamwState, cosine, disposeAdamw, initAdamw, trainLoop, trainStep } from "@rlhf/optim";
import { cloneModel, copyParams, disposeModel, type Model } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import type { SftConfig } from "./config.ts";
import { meanResponseLoss } from "./mean_response_loss.ts";
import { responseLoss, responseTokens } from "./response_loss.ts";

export interface FinetuneInput<E = never, R = never> {
  /** Trained in place. */
  readonly model: Model;
  readonly demonstrations: ReadonlyArray<EncodedDemonstration>;
  /** Demonstrations of other prompts, to choose the epoch by. */
  readonly validation: ReadonlyArray<EncodedDemonstration>;
  readonly config: SftConfig;
  readonly key: Key;
  /** What the weights are worth, such as the mean reward-model score of their responses to validation prompts. */
  readonly score?: (model: Model) => Effect.Effect<number, E, R>;
  /**
   * Sees the weights of every epoch, to save them, say, for a reward model that is yet to be trained. A run that goes on
   * does not call it again for epochs that it has behind it.
   */
  readonly afterEpoch?: (model: Model, result: EpochResult) => Effect.Effect<void, E, R>;
}

/** How good the weights were after an epoch. */
export interface EpochResult {
  readonly epoch: number;
  readonly validationLoss: number;
  readonly validationScore?: number;
}

/**
 * Fine-tunes a causal model on demonstrations (Ouyang et al. 2022, arXiv:2203.02155, section 3.5 and appendix C.1): loss on the
 * responses with end-of-sequence, residual dropout, a cosine to a tenth of the learning rate, no warm-up. Demonstrations of a
 * batch are packed into rows of the model's context and do not see each other.
 *
 * After every epoch the weights are judged on the validation demonstrations, and those of the best epoch are kept: by
 * `score` if it is given, else by validation loss. InstructGPT chose by reward-model score: validation loss overfits after one
 * epoch, yet more epochs gave better responses.
 *
 * @returns the model with the chosen weights, the epoch they come from, and the results of all epochs
 * Fails with InvalidInput when a demonstration does not fit into the model's context, and with NonFiniteLoss when
 * training diverges; the model then has the weights before the step.
 */
export const finetune = Effect.fn("sft.finetune")(function* <E = never, R = never>(
  input: FinetuneInput<E, R>,
) {
  yield* checkInput(input);
  return yield* Effect.acquireUseRelease(
    Effect.sync(() => ({ state: initAdamw(input.model.params), best: cloneModel(input.model) })),
    ({ state, best }) => fit(state, best, input),
    ({ state, best }) =>
      Effect.sync(() => {
        disposeAdamw(state);
        disposeModel(best);
      }),
  );
});

const fit = Effect.fnUntraced(function* <E, R>(state: AdamwState, best: Model, input: FinetuneInput<E, R>) {
  const { model, demonstrations, config, key } = input;
  const { batchSize, maxGradNorm, dropout: rate } = config;
  const stepsPerEpoch = Math.ceil(demonstrations.length / batchSize);
  const steps = config.epochs * stepsPerEpoch;
  const schedule = cosine({ peak: config.learningRate, floorShare: config.floorShare, total: steps });
  const validation = microBatches(input, input.validation);
  const epochs: Array<EpochResult> = [];
  let chosen: EpochResult | undefined;

  const train = Effect.fnUntraced(function* (index: number) {
    const epochKey = fold(fold(key, "epoch"), Math.floor(index / stepsPerEpoch));
    const members = minibatches(epochKey, demonstrations.length, batchSize)[index % stepsPerEpoch]!;
    const batch = Array.from(members, (member) => demonstrations[member]!);
    const batches = microBatches(input, batch);
    const tokens = responseTokens(batches);
    const dropoutKey = fold(fold(key, "dropout"), index);
    const losses = batches.map((part, i) => () => {
      const dropout = { rate, key: fold(dropoutKey, i) };
      return responseLoss(model, part, { tokens, dropout });
    });
    const learningRate = schedule(index);
    const { loss, gradNorm } = yield* Effect.promise(() =>
      trainStep({ params: model.params, state, losses, learningRate, maxGradNorm }),
    );
    return { metrics: { loss, gradNorm, learningRate }, tokens: lengthOf(batch) };
  });

  /** Whether it is the best so far. */
  const remember = (result: EpochResult): boolean => {
    epochs.push(result);
    if (chosen !== undefined && worth(result) <= worth(chosen)) return false;
    chosen = result;
    return true;
  };

  const judge = Effect.fnUntraced(function* (epoch: number) {
    const validationLoss = yield* meanResponseLoss(model, validation);
    const judged = input.score === undefined ? {} : { validationScore: yield* input.score(model) };
    const result: EpochResult = { epoch, validationLoss, ...judged };
    if (remember(result)) copyParams(model, best);
    if (input.afterEpoch !== undefined) yield* input.afterEpoch(model, result);
    return { validationLoss, ...judged };
  });

  yield* trainLoop({
    stage: "sft",
    steps,
    memory: {
      variables: { model: model.params, best: best.params },
      optimizers: { optimizer: state },
      values: {
        save: () => epochs,
        restore: (saved: ReadonlyArray<EpochResult>) => {
          for (const result of saved) remember(result);
        },
      },
    },
    step: Effect.fnUntraced(function* (index: number) {
      const { metrics, tokens } = yield* train(index);
      const epochEnds = (index + 1) % stepsPerEpoch === 0;
      const verdict = epochEnds ? yield* judge((index + 1) / stepsPerEpoch) : {};
      return { metrics: { ...metrics, ...verdict }, tokens };
    }),
  });
  copyParams(best, model);
  const progress = yield* Progress;
  const reason = input.score === undefined ? "lowest validation loss" : "highest validation score";
  yield* progress.publish({
    _tag: "Note",
    stage: "sft",
    message: `Kept the weights of epoch ${chosen!.epoch} of ${config.epochs}: ${reason}`,
  });
  return { model, chosen: chosen!, epochs: epochs as ReadonlyArray<EpochResult> };
});

/** Higher is better. */
function worth({ validationScore, validationLoss }: EpochResult): number {
  return validationScore ?? -validationLoss;
}

/** Demonstrations packed into rows of the model's context, `microBatchSize` rows at a time. */
function microBatches(
  { model, config }: Pick<FinetuneInput, "model" | "config">,
  demonstrations: ReadonlyArray<EncodedDemonstration>,
): ReadonlyArray<TokenBatch> {
  return pack(demonstrations.map(demonstrationRow), {
    length: model.config.contextLength,
    rowsPerBatch: config.microBatchSize,
    padId: 0, // any id will do: no token sees padding
  });
}

function checkInput({
  model,
  demonstrations,
  validation,
}: Pick<FinetuneInput, "model" | "demonstrations" | "validation">) {
  const { contextLength } = model.config;
  const problems = Object.entries({ demonstrations, validation }).flatMap(([name, members]) => [
    ...(members.length > 0 ? [] : [{ where: name, problem: "there is none", remedy: "give at least one" }]),
    ...members.flatMap(({ prompt, response }, i) => {
      const length = prompt.length + response.length;
      if (length <= contextLength) return [];
      return [
        {
          where: `${name}[${i}]`,
          problem: `prompt and response have ${length} tokens, the model's context ${contextLength}`,
          remedy: "shorten or drop it, or use a model with a longer context",
        },
      ];
    }),
  ]);
  return problems.length > 0 ? Effect.fail(new InvalidInput({ problems })) : Effect.void;
}

function lengthOf(demonstrations: ReadonlyArray<EncodedDemonstration>): number {
  return demonstrations.reduce((sum, { prompt, response }) => sum + prompt.length + response.length, 0);
}
