import { responseMask } from "@rlhf/bandit-env";
import { InvalidInput, type Problem } from "@rlhf/core/errors";
import { Progress } from "@rlhf/core/progress";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedRanking, Tokens } from "@rlhf/core/records";
import { minibatches } from "@rlhf/data/minibatches";
import {
  type AdamwState,
  cosine,
  disposeAdamw,
  initAdamw,
  type LossWithMetrics,
  trainLoop,
  trainStep,
} from "@rlhf/optim";
import { pairwiseAccuracy } from "@rlhf/reward/accuracy";
import { decidedPairs } from "@rlhf/reward/decided_pairs";
import { byAnswers, type RankedAnswers } from "@rlhf/reward/ranked_answers";
import { cloneModel, disposeModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { chunks } from "./_chunks.ts";
import { type Answers, episode, episodesOf, sequenceLogProbs } from "./_responses.ts";
import type { DpoConfig } from "./config.ts";
import { preferenceObjective } from "./preference_objective.ts";

export interface TrainDpoInput {
  /** What training starts from, and the reference. It is copied, not changed. */
  readonly policy: Model;
  /** Several of the same responses, by different people, are one element of a batch. */
  readonly rankings: ReadonlyArray<EncodedRanking>;
  /** Rankings of other prompts: they measure, and teach nothing. */
  readonly validation: ReadonlyArray<EncodedRanking>;
  readonly config: DpoConfig;
  readonly key: Key;
}

/** The responses to a prompt with what the reference says of them, taken once before training. */
interface Prepared extends RankedAnswers {
  /** log π₀ of each response. */
  readonly refLogProbs: Float32Array;
  /** For KTO's z: this prompt with a response to another, and its log π₀. */
  readonly mismatch: { readonly response: Tokens; readonly refLogProb: number };
}

/**
 * Trains a policy directly on rankings, without a reward model and without sampling (Rafailov et al. 2023,
 * arXiv:2305.18290), with any {@link PreferenceLoss}: K responses to a prompt give all their decided pairs, those of everybody
 * who ranked them, from K forward passes. The reference is the policy as it is at the start; its log-probabilities are computed once.
 *
 * KTO's z is estimated on the prompts of the batch with responses that were given to other prompts, as its authors do.
 *
 * @returns the model (free it with `disposeModel`), and the share of the validation pairs whose preferred response has the
 *   higher implicit reward log π/π₀
 * Fails with InvalidInput when rankings and ranks do not belong together or nothing can be learned from them, and
 *   with NonFiniteLoss when training diverges.
 */
export const trainDpo = Effect.fn("dpo.train")(function* (input: TrainDpoInput) {
  yield* checkInput(input);
  const { policy, validation, config } = input;
  const size = config.microBatchSize;
  const prepared = yield* prepare(input);
  const validationReference = yield* scoresOf(policy, validation, size, "dpo.validation");
  const model = cloneModel(policy);
  return yield* Effect.gen(function* () {
    yield* Effect.acquireUseRelease(
      Effect.sync(() => initAdamw(model.params)),
      (state) => fit(model, state, prepared, input),
      (state) => Effect.sync(() => disposeAdamw(state)),
    );
    const after = yield* scoresOf(model, validation, size, "dpo.validation");
    const scores = after.map((row, i) => row.map((value, j) => value - validationReference[i]![j]!));
    return { model, accuracy: pairwiseAccuracy({ rankings: validation, scores }) };
  }).pipe(Effect.onError(() => Effect.sync(() => disposeModel(model))));
});

const fit = (
  model: Model,
  state: AdamwState,
  prompts: ReadonlyArray<Prepared>,
  { config, key }: TrainDpoInput,
) => {
  const { batchSize, microBatchSize, maxGradNorm, learningRate: peak } = config;
  const stepsPerEpoch = Math.ceil(prompts.length / batchSize);
  const steps = config.epochs * stepsPerEpoch;
  const warmup = Math.floor(config.warmupShare * steps);
  const schedule = cosine({ peak, floorShare: 0, total: steps, warmup });
  return trainLoop({
    stage: "dpo",
    steps,
    memory: { variables: { model: model.params }, optimizers: { optimizer: state } },
    step: Effect.fnUntraced(function* (index) {
      const epochKey = fold(fold(key, "epoch"), Math.floor(index / stepsPerEpoch));
      const members = minibatches(epochKey, prompts.length, batchSize)[index % stepsPerEpoch]!;
      const batch = Array.from(members, (member) => prompts[member]!);
      const kl = config.loss._tag === "Kto" ? yield* mismatchKl(model, batch, microBatchSize) : 0;
      const losses = chunks(batch, microBatchSize).map((part) => {
        const share = part.length / batch.length;
        return () => objective(model, part, { ...config, share, kl });
      });
      const learningRate = schedule(index);
      const { loss, gradNorm, metrics } = yield* Effect.promise(() =>
        trainStep({ params: model.params, state, losses, learningRate, maxGradNorm }),
      );
      const tokens = batch.flatMap(({ prompt, responses }) =>
        responses.map((response) => prompt.length + response.length),
      );
      return {
        metrics: { loss, ...metrics, gradNorm, learningRate },
        tokens: tokens.reduce((sum, length) => sum + length, 0),
      };
    }),
  });
};

function objective(
  model: Model,
  part: ReadonlyArray<Prepared>,
  options: Pick<DpoConfig, "loss"> & { readonly share: number; readonly kl: number },
): LossWithMetrics {
  const episodes = part.flatMap(episodesOf);
  const batch = {
    episodes,
    mask: responseMask(episodes),
    refLogProbs: tf.tensor1d(part.flatMap(({ refLogProbs }) => [...refLogProbs])),
    rankings: part.map(({ rankings }) => rankings),
  };
  return preferenceObjective(model, batch, { ...options, temperature: 1 });
}

/** Progress is told as often; every time waits for the device. */
const promptsBetweenReads = 64;

/** The prompts whose rankings prefer something, with the reference's log-probabilities. */
const prepare = Effect.fnUntraced(function* ({ policy, rankings, config }: TrainDpoInput) {
  const prompts = instructive(rankings);
  const reference = yield* scoresOf(policy, prompts, config.microBatchSize, "dpo.reference");
  const responses = prompts.map(({ prompt }, i) =>
    prompts[(i + 1) % prompts.length]!.responses[0]!.slice(0, policy.config.contextLength - prompt.length),
  );
  const mismatched = prompts.map(({ prompt }, i) => ({ prompt, responses: [responses[i]!] }));
  const refLogProbs =
    config.loss._tag === "Kto"
      ? yield* scoresOf(policy, mismatched, config.microBatchSize, "dpo.mismatched")
      : [];
  return prompts.map((answers, i): Prepared => {
    const mismatch = { response: responses[i]!, refLogProb: refLogProbs[i]?.[0] ?? 0 };
    return { ...answers, refLogProbs: reference[i]!, mismatch };
  });
});

/** KTO's z: the mean of log π/π₀ over prompts with responses to other prompts, at least 0. */
const mismatchKl = Effect.fnUntraced(function* (model: Model, batch: ReadonlyArray<Prepared>, size: number) {
  const episodes = batch.map(({ prompt, mismatch }) => episode(prompt, mismatch.response));
  const logProbs = yield* sequenceLogProbs(model, episodes, size);
  const ratios = batch.map(({ mismatch }, i) => logProbs[i]! - mismatch.refLogProb);
  return Math.max(0, ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length);
});

/** log π of every response, a row a prompt. */
const scoresOf = Effect.fnUntraced(function* (
  model: Model,
  prompts: ReadonlyArray<Answers>,
  size: number,
  stage: string,
) {
  if (prompts.length === 0) return [];
  const { publish } = yield* Progress;
  const total = prompts.length;
  const scores: Array<Float32Array> = [];
  yield* publish({ _tag: "Started", stage, total, unit: "prompts" });
  for (const part of chunks(prompts, promptsBetweenReads)) {
    const episodes = part.flatMap(episodesOf);
    const sums = yield* sequenceLogProbs(model, episodes, size);
    let end = 0;
    for (const { responses } of part) scores.push(sums.subarray(end, (end += responses.length)));
    const tokens = episodes.reduce(
      (sum, one) => sum + one.prompt.tokens.length + one.response.tokens.length,
      0,
    );
    yield* publish({ _tag: "Step", stage, step: scores.length, total, metrics: {}, tokens });
  }
  yield* publish({ _tag: "Finished", stage, metrics: {} });
  return scores;
});

/** The answers to each prompt that somebody prefers one of. */
function instructive(rankings: ReadonlyArray<EncodedRanking>): ReadonlyArray<RankedAnswers> {
  return byAnswers(rankings.filter(isDecided));
}

function isDecided({ ranks }: EncodedRanking): boolean {
  return decidedPairs(ranks).length > 0;
}

const checkInput = ({ rankings, validation, policy, config }: TrainDpoInput) => {
  const { contextLength } = policy.config;
  const problems = [
    ...rankings.flatMap((ranking, i) => problemsOf(`rankings[${i}]`, ranking, contextLength)),
    ...validation.flatMap((ranking, i) => problemsOf(`validation[${i}]`, ranking, contextLength)),
  ];
  if (!rankings.some(isDecided)) {
    problems.push({
      where: "rankings",
      problem: "no ranking prefers one response to another",
      remedy: "give at least one ranking whose ranks are not all equal",
    });
  }
  if (config.loss._tag === "Kto" && instructive(rankings).length < 2) {
    problems.push({
      where: "rankings",
      problem: "KTO estimates the KL on responses to other prompts, and there is none",
      remedy: "give rankings of the responses to at least two prompts that are not all ties",
    });
  }
  return problems.length > 0 ? Effect.fail(new InvalidInput({ problems })) : Effect.void;
};

function problemsOf(where: string, ranking: EncodedRanking, contextLength: number): Array<Problem> {
  const { prompt, responses, ranks } = ranking;
  const problems: Array<Problem> = [];
  if (responses.length !== ranks.length) {
    const problem = `${responses.length} responses, ${ranks.length} ranks`;
    problems.push({ where, problem, remedy: "give each response a rank" });
  }
  if (prompt.length === 0 || responses.some((response) => response.length === 0)) {
    const problem = "the prompt or a response has no token";
    problems.push({
      where,
      problem,
      remedy: "start prompts with a token, end responses with end-of-sequence",
    });
  }
  const longest = prompt.length + Math.max(...responses.map((response) => response.length));
  if (longest > contextLength) {
    const problem = `prompt and response have ${longest} tokens, the model's context ${contextLength}`;
    problems.push({
      where,
      problem,
      remedy: "shorten the responses, drop the ranking or use a model with a longer context",
    });
  }
  return problems;
}
