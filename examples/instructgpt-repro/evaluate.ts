import { fold, type Key, Progress } from "@rlhf/core";
import { chunkStream, padRight } from "@rlhf/data";
import { alignmentTax, distinct, type Sample } from "@rlhf/eval";
import { goldUtility, type SimulatedLabelers, words } from "@rlhf/labeler";
import { crossEntropy } from "@rlhf/pretrain";
import { type RewardModel, score, scoreRankings } from "@rlhf/reward";
import type { Tokenizer } from "@rlhf/tokenizer";
import type { Model } from "@rlhf/transformer";
import { Effect } from "effect";
import { answer } from "./answer.ts";
import type { Comparisons, LabeledRanking } from "./comparisons.ts";
import type { Config } from "./config.ts";
import type { PipelineData } from "./data.ts";
import type { EncodedData } from "./encode.ts";
import { type Answers, heldOutWinRate, judgements, pairShare, rateRows, sentimentWinRate } from "./judges.ts";
import type { TaskPrompt } from "./tasks.ts";

/** Tokens of held-out text on which the alignment tax is measured, and tokens per bootstrap cluster. */
const taxTokens = 32_768;
const clusterTokens = 512;

/** The models to compare, in the order of training; the first is the base, the second what the others must beat. */
export type Contestants = ReadonlyArray<{ readonly name: string; readonly model: Model }>;

/**
 * Measures with judges that training never saw: held-out labellers, AFINN, WordNet's facts, held-out text. What needs a
 * judge that the user's own data does not have is left out and named.
 */
export const evaluate = Effect.fn("evaluate")(function* (input: {
  readonly contestants: Contestants;
  readonly rewardModel: RewardModel;
  readonly data: PipelineData;
  readonly encoded: EncodedData;
  readonly labelers: SimulatedLabelers<TaskPrompt>;
  readonly tokenizer: Tokenizer;
  readonly config: Config;
  readonly key: Key;
}) {
  const { contestants, data, encoded, labelers, config, key } = input;
  const { resamples } = config.evaluation;
  const prompts = encoded.evaluation.map(({ prompt }) => prompt);
  const answers: Array<Answers & { readonly scores: Float32Array }> = [];
  for (const { name, model } of contestants) {
    answers.push(yield* answerAll(name, model, input));
  }
  const tax = yield* measureTax(contestants, encoded, fold(key, "tax"), resamples);

  const judgedByLabelers = !data.own.comparisons; // simulated labellers say nothing about people's taste
  const sft = answers.find(({ model }) => model === "sft")!;
  const winRates = [];
  for (const contestant of answers.filter((one) => one !== sft).reverse()) {
    const [better, worse] = contestant.model === "base" ? [sft, contestant] : [contestant, sft];
    const match = { prompts, answers: better, baseline: worse, resamples, key: fold(key, contestant.model) };
    if (judgedByLabelers) winRates.push(yield* heldOutWinRate({ ...match, labelers: labelers.heldOut }));
    const bySentiment = yield* sentimentWinRate(match);
    if (bySentiment !== undefined) winRates.push(bySentiment);
  }
  return {
    winRates,
    alignmentTax: [{ corpus: "held-out text", rows: tax }],
    rates: answers.flatMap(({ model, texts }) => rateRows(model, judgements(data.criteria, prompts, texts))),
    tables: [
      {
        title: "Diversity of the answers",
        rows: answers.map(({ model, texts }) => ({
          model,
          "distinct 1-grams": distinct(texts.map(words), 1).toFixed(3),
          "distinct 2-grams": distinct(texts.map(words), 2).toFixed(3),
          "distinct responses": `${((100 * new Set(texts).size) / texts.length).toFixed(0)} %`,
          "mean words": mean(texts.map((text) => words(text).length)).toFixed(1),
        })),
      },
    ],
    samples: prompts.map(
      (prompt, i): Sample => ({
        prompt: prompt.text.trim(),
        answers: answers.map(({ model, texts, scores }) => ({
          model,
          text: texts[i]!,
          scores: {
            reward: scores[i]!,
            ...(judgedByLabelers ? { gold: goldUtility(labelers.heldOut, prompt, texts[i]!) } : {}),
          },
        })),
      }),
    ),
  };
});

const answerAll = Effect.fnUntraced(function* (
  name: string,
  model: Model,
  input: {
    readonly rewardModel: RewardModel;
    readonly encoded: EncodedData;
    readonly tokenizer: Tokenizer;
    readonly config: Config;
    readonly key: Key;
  },
) {
  const { rewardModel, encoded, tokenizer, config, key } = input;
  const generations = yield* answer(input, {
    stage: `answers of ${name}`,
    model,
    prompts: encoded.evaluation.map(({ tokens }) => tokens),
    temperature: config.evaluation.temperature,
    key: fold(key, "answers"),
  });
  const scores = yield* score(
    rewardModel,
    generations.map(({ tokens }, i) => [...encoded.evaluation[i]!.tokens, ...tokens]),
  );
  const texts = generations.map(({ tokens }) => tokenizer.decode(tokens, { skipSpecial: true }).trim());
  return { model: name, texts, scores };
});

const measureTax = Effect.fnUntraced(function* (
  contestants: Contestants,
  encoded: EncodedData,
  key: Key,
  resamples: number,
) {
  const length = contestants[0]!.model.config.contextLength;
  const rows = chunkStream(encoded.corpus.validation, { length }).slice(0, Math.ceil(taxTokens / length));
  const rowsPerCluster = Math.max(1, Math.floor(clusterTokens / length));
  const batches = Array.from({ length: Math.ceil(rows.length / rowsPerCluster) }, (_, i) =>
    padRight(
      rows.slice(i * rowsPerCluster, (i + 1) * rowsPerCluster).map((tokens) => ({ tokens })),
      { padId: 0, length },
    ),
  );
  const { publish } = yield* Progress;
  const stage = "alignment tax";
  const total = contestants.length;
  yield* publish({ _tag: "Started", stage, total, unit: "models" });
  const nats: Record<string, Array<number>> = {};
  let tokens: Array<number> = [];
  for (const [i, { name, model }] of contestants.entries()) {
    const measured = yield* Effect.forEach(batches, (batch) => crossEntropy(model, [batch]));
    tokens = measured.map((one) => one.tokens);
    nats[name] = measured.map((one) => one.crossEntropy * one.tokens);
    const metrics = { [`${name} nats per token`]: sum(nats[name]) / sum(tokens) };
    yield* publish({ _tag: "Step", stage, step: i + 1, total, metrics, tokens: sum(tokens) });
  }
  yield* publish({ _tag: "Finished", stage, metrics: {} });
  const { base, ...models } = nats;
  return alignmentTax({ tokens, base: base!, models, key, resamples });
});

/** How often the reward model orders pairs as labellers do, beside how often labellers agree with each other. */
export const measureRewardModel = Effect.fn("measureRewardModel")(function* (
  model: RewardModel,
  comparisons: Comparisons,
  key: Key,
  { evaluation: { resamples } }: Pick<Config, "evaluation">,
) {
  const accuracy = Effect.fnUntraced(function* (rankings: ReadonlyArray<LabeledRanking>) {
    const scores = yield* scoreRankings(model, rankings);
    return pairShare(
      rankings.flatMap((ranking, i) =>
        orderings(
          ranking.ranks,
          [...scores[i]!].map((value) => -value),
        ).map((agrees) => ({
          prompt: ranking.prompt.join(),
          agrees,
        })),
      ),
      fold(key, "accuracy"),
      resamples,
    );
  });
  /** Absent where no prompt was ranked by several labellers: few prompts, or none drawn for it. */
  const agreement = (rankingsByLabeler: ReadonlyArray<ReadonlyArray<LabeledRanking>>) => {
    const pairs = rankingsByLabeler.flatMap((own, i) =>
      rankingsByLabeler.slice(0, i).flatMap((others) =>
        own.flatMap((ranking, j) =>
          orderings(ranking.ranks, others[j]!.ranks).map((agrees) => ({
            prompt: ranking.prompt.join(),
            agrees,
          })),
        ),
      ),
    );
    return pairs.length === 0 ? undefined : pairShare(pairs, fold(key, "agreement"), resamples);
  };
  const { validation, heldOut, overlap } = comparisons;
  const [labelerAgreement, heldOutAgreement] = [agreement(overlap), agreement(heldOut)];
  return {
    accuracy: yield* accuracy(validation),
    ...(heldOut.length > 0 ? { heldOutAccuracy: yield* accuracy(heldOut.flat()) } : {}),
    ...(labelerAgreement === undefined ? {} : { labelerAgreement }),
    ...(heldOutAgreement === undefined ? {} : { heldOutAgreement }),
  };
});

/** For each pair that both order: 1 where they order it alike, else 0. */
function orderings(a: ReadonlyArray<number>, b: ReadonlyArray<number>): ReadonlyArray<number> {
  return a.flatMap((_, i) =>
    a.slice(0, i).flatMap((_, j) => {
      const product = (a[i]! - a[j]!) * (b[i]! - b[j]!);
      return product === 0 ? [] : [product > 0 ? 1 : 0];
    }),
  );
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((total, value) => total + value, 0);
}

function mean(values: ArrayLike<number>): number {
  return sum(values) / values.length;
}
