import { InvalidInput } from "@rlhf/core/errors";
import { fold, type Key } from "@rlhf/core/random";
import type { EncodedDemonstration, EncodedRanking, Tokens } from "@rlhf/core/records";
import { minibatches } from "@rlhf/data/minibatches";
import {
  type AdamwState,
  cosine,
  disposeAdamw,
  initAdamw,
  type Loss,
  trainLoop,
  trainStep,
} from "@rlhf/optim";
import { cloneModel, disposeScalarModel, initScalarModel, type Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { pairwiseAccuracy } from "./accuracy.ts";
import { calibration } from "./calibration.ts";
import type { RewardConfig } from "./config.ts";
import { decidedPairs } from "./decided_pairs.ts";
import { normalizeScores } from "./normalize.ts";
import { byAnswers, type RankedAnswers } from "./ranked_answers.ts";
import { rankedPairs, rankingAccuracy, rankingLoss } from "./ranking_loss.ts";
import { forwardScores, type RewardModel, score } from "./score.ts";

/** Who ranked is told apart in the validation accuracy when it is given. */
export interface LabeledRanking extends EncodedRanking {
  readonly labeler?: string;
}

export interface TrainRewardInput {
  /** The supervised model that the reward model starts from. It is copied, not changed. */
  readonly policy: Model;
  /** Several of the same answers, by different people, are one element of a batch. */
  readonly rankings: ReadonlyArray<EncodedRanking>;
  /** Rankings of other prompts: they measure, and teach nothing. */
  readonly validation: ReadonlyArray<LabeledRanking>;
  /** Their mean score becomes 0. */
  readonly demonstrations: ReadonlyArray<EncodedDemonstration>;
  readonly config: RewardConfig;
  readonly key: Key;
}

/**
 * Trains a reward model on rankings (Ouyang et al. 2022, arXiv:2203.02155, section 3.5 and appendix C.2): the supervised model with
 * a scalar head in place of its unembedding, the K-wise ranking loss, one epoch, a cosine to a tenth of the learning rate,
 * no dropout; then a bias so that demonstrations score 0 on average.
 *
 * @returns the model (free it with `disposeScalarModel`), its accuracy on the validation rankings in total and by labeler, and
 *   its calibration there
 * Fails with InvalidInput when rankings and ranks do not belong together or nothing can be learned from them, and
 *   with NonFiniteLoss when training diverges.
 */
export const trainReward = Effect.fn("reward.train")(function* (input: TrainRewardInput) {
  yield* checkInput(input);
  const { validation, demonstrations, key } = input;
  const model = initScalarModel(cloneModel(input.policy), fold(key, "head"));
  return yield* Effect.gen(function* () {
    yield* fit(model, input);
    yield* normalizeScores(model, demonstrations);
    const scores = yield* scoreRankings(model, validation);
    return {
      model,
      accuracy: pairwiseAccuracy({ rankings: validation, scores }),
      calibration: calibration({ rankings: validation, scores }),
    };
  }).pipe(Effect.onError(() => Effect.sync(() => disposeScalarModel(model))));
});

/** One row of scores per ranking, one score per response. */
export const scoreRankings = Effect.fn("reward.scoreRankings")(function* (
  model: RewardModel,
  rankings: ReadonlyArray<EncodedRanking>,
) {
  const scores = yield* score(model, rankings.flatMap(sequencesOf));
  let end = 0;
  return rankings.map(({ responses }) => scores.subarray(end, (end += responses.length)));
});

/** What one micro-batch of prompts adds to the objective of a batch of `prompts` prompts. */
export function rankingObjective(
  model: RewardModel,
  answers: ReadonlyArray<RankedAnswers>,
  prompts: number,
): Loss {
  const pairs = rankedPairs(answers.map(({ rankings }) => rankings));
  const share = answers.length / prompts;
  return () => {
    const scores = forwardScores(model, answers.flatMap(sequencesOf));
    return {
      loss: tf.mul(rankingLoss({ scores, pairs }), share),
      metrics: { accuracy: tf.mul(rankingAccuracy({ scores, pairs }), share) },
    };
  };
}

const fit = (model: RewardModel, input: TrainRewardInput) =>
  Effect.acquireUseRelease(
    Effect.sync(() => initAdamw(model.params)),
    (state) => fitWith(state, model, input),
    (state) => Effect.sync(() => disposeAdamw(state)),
  );

const fitWith = (state: AdamwState, model: RewardModel, { config, key, ...input }: TrainRewardInput) => {
  const { batchSize, microBatchSize, learningRate: peak, floorShare, maxGradNorm } = config;
  const prompts = byAnswers(input.rankings.filter(isDecided));
  const stepsPerEpoch = Math.ceil(prompts.length / batchSize);
  const steps = config.epochs * stepsPerEpoch;
  const schedule = cosine({ peak, floorShare, total: steps });
  return trainLoop({
    stage: "reward",
    steps,
    memory: { variables: { model: model.params }, optimizers: { optimizer: state } },
    step: Effect.fnUntraced(function* (index) {
      const epochKey = fold(fold(key, "epoch"), Math.floor(index / stepsPerEpoch));
      const batch = Array.from(
        minibatches(epochKey, prompts.length, batchSize)[index % stepsPerEpoch]!,
        (member) => prompts[member]!,
      );
      const losses = chunks(batch, microBatchSize).map((part) => rankingObjective(model, part, batch.length));
      const learningRate = schedule(index);
      const { loss, gradNorm, metrics } = yield* Effect.promise(() =>
        trainStep({ params: model.params, state, losses, learningRate, maxGradNorm }),
      );
      const tokens = batch.flatMap(sequencesOf).reduce((sum, sequence) => sum + sequence.length, 0);
      return { metrics: { loss, ...metrics, gradNorm, learningRate }, tokens };
    }),
  });
};

const checkInput = ({ rankings, validation, demonstrations, policy }: TrainRewardInput) => {
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
  if (demonstrations.length === 0) {
    problems.push({
      where: "demonstrations",
      problem: "there is none",
      remedy: "give some: scores are shifted so that demonstrations score 0 on average",
    });
  }
  return problems.length > 0 ? Effect.fail(new InvalidInput({ problems })) : Effect.void;
};

function problemsOf(where: string, ranking: EncodedRanking, contextLength: number) {
  const { prompt, responses, ranks } = ranking;
  const longest = prompt.length + Math.max(...responses.map((response) => response.length));
  return [
    ...(responses.length === ranks.length
      ? []
      : [
          {
            where,
            problem: `${responses.length} responses, ${ranks.length} ranks`,
            remedy: "give each response a rank",
          },
        ]),
    ...(longest <= contextLength
      ? []
      : [
          {
            where,
            problem: `prompt and response have ${longest} tokens, the model's context ${contextLength}`,
            remedy: "shorten the responses, drop the ranking or use a model with a longer context",
          },
        ]),
  ];
}

function isDecided({ ranks }: EncodedRanking): boolean {
  return decidedPairs(ranks).length > 0;
}

function sequencesOf({
  prompt,
  responses,
}: Pick<RankedAnswers, "prompt" | "responses">): ReadonlyArray<Tokens> {
  return responses.map((response) => [...prompt, ...response]);
}

function chunks<T>(items: ReadonlyArray<T>, size: number): ReadonlyArray<ReadonlyArray<T>> {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
