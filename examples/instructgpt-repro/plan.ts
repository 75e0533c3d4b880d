import type { EncodedDemonstration, EncodedRanking, Tokens } from "@rlhf/core";
import { stageName } from "@rlhf/ppo";
import {
  defaultSlots,
  type Pass,
  type StageMemory,
  stageMemory,
  type TransformerConfig,
} from "@rlhf/transformer";
import type { Config } from "./config.ts";
import type { EncodedData } from "./encode.ts";
import { loraOf } from "./lora.ts";

/** What a stage is going to do, and what it takes. */
export interface StagePlan {
  readonly stage: string;
  /** The setting that holds the size of its micro-batches. */
  readonly setting: string;
  readonly steps: number;
  /** Tokens of all passes. */
  readonly trained: number;
  /** How many of the trained are a scalar model's, which spares the work of the vocabulary. */
  readonly valued: number;
  readonly scored: number;
  readonly sampled: number;
  readonly memory: StageMemory;
}

/** Sequences in one forward pass of a reward model that scores, and how many tokens they are at most. */
const scoredAtOnce = 32;
const tokensAtOnce = 8192;
/** Sequences in a step of sampling where answers are compared. */
const answerSlots = 64;

/**
 * The stages of a run. How long answers will be is not known yet: as long as the demonstrations, of which the longest
 * decides how far batches are padded.
 */
export function planOf(
  config: Config,
  {
    model,
    encoded,
    ownComparisons,
  }: {
    readonly model: TransformerConfig;
    readonly encoded: EncodedData;
    readonly ownComparisons: boolean;
  },
): ReadonlyArray<StagePlan> {
  const { pretrain, sft, comparing, reward, ppo } = config;
  const context = model.contextLength;
  const { demonstrations, rankings, prompts } = encoded;
  const prompt = meanLength(demonstrations.map((one) => one.prompt));
  const answer = meanLength(demonstrations.map(({ response }) => response));
  const longestAnswer = largest(demonstrations, ({ response }) => response.length);
  const longestPrompt = largest(prompts, ({ tokens }) => tokens.length);
  const longest = largest(
    ownComparisons ? rankings.flatMap(sequencesOf) : demonstrations.map(sequenceOf),
    length,
  );
  const [whole, padded] = [prompt + answer, Math.min(context, roundUp(longest, 8))];
  const rows = (sequences: number) => Math.ceil((1.1 * sequences * whole) / context); // packing leaves gaps
  const scored = Math.min(scoredAtOnce * padded, Math.max(tokensAtOnce, padded));
  const scoring: Pass = { tokens: scored, predictions: 0, forwardOnly: true };
  const sampledLength = Math.min(context, longestPrompt + ppo.maxNewTokens);
  const sampling = (slots: number) => ({
    slots,
    length: sampledLength,
  });
  const everyToken = (tokens: number, dropout = false): Pass => ({ tokens, predictions: tokens, dropout });
  const rounds = ownComparisons ? 1 : config.rounds;

  const plans: Array<StagePlan> = [];
  const add = (
    stage: string,
    work: Partial<StagePlan> & Pick<StagePlan, "setting" | "steps">,
    held: number,
    needs: Partial<Parameters<typeof stageMemory>[0]> & Pick<Parameters<typeof stageMemory>[0], "passes">,
  ) => {
    const lora = loraOf(config.lora, model);
    const adapter = lora === undefined ? {} : { lora };
    const memory = stageMemory({ config: model, ...adapter, trained: 1, held, accumulates: false, ...needs });
    plans.push({ stage, trained: 0, valued: 0, scored: 0, sampled: 0, ...work, memory });
  };

  if (config.base === null) {
    const { steps, batchSize, microBatchSize, evaluateEvery } = pretrain;
    const evaluations = Math.ceil(steps / evaluateEvery);
    add(
      "pretrain",
      {
        setting: "pretrain.microBatchSize",
        steps,
        trained: steps * batchSize * context,
        scored: evaluations * encoded.corpus.validation.length,
      },
      0,
      {
        passes: [everyToken(Math.min(batchSize, microBatchSize) * context)],
        accumulates: batchSize > microBatchSize,
      },
    );
  }

  const sftRows = rows(sft.batchSize);
  add(
    "sft",
    {
      setting: "sft.microBatchSize",
      steps: sft.epochs * Math.ceil(encoded.demonstrations.length / sft.batchSize),
      trained: sft.epochs * encoded.demonstrations.length * whole,
      scored: sft.epochs * encoded.validation.length * whole,
    },
    2, // the base, and the weights of the best epoch
    {
      passes: [
        everyToken(Math.min(sftRows, sft.microBatchSize) * context, sft.dropout > 0),
        everyToken(sft.microBatchSize * context),
      ],
      accumulates: sftRows > sft.microBatchSize,
    },
  );

  let held = 2; // the base and the supervised model
  const addPpo = (ptxCoefficient: number, suffix: string) => {
    const isMixed = ptxCoefficient > 0;
    const episodes = ppo.iterations * ppo.batchSize;
    const updates = ppo.epochs * episodes;
    const micro = Math.min(ppo.minibatchSize, ppo.microBatchSize);
    const text = Math.min(ppo.microBatchSize, ppo.minibatchSize * ppo.ptxExamplesPerEpisode) * context;
    const own: Pass = {
      tokens: roundUp(rows(micro), 4) * context,
      predictions: micro * roundUp(Math.min(longestAnswer, ppo.maxNewTokens), 8),
    };
    add(
      `${stageName({ ...ppo, ptxCoefficient })}${suffix}`,
      {
        setting: "ppo.microBatchSize",
        steps: Math.ceil(updates / ppo.minibatchSize),
        // Policy and value network, and the pretraining text.
        trained: updates * (2 * whole + (isMixed ? ppo.ptxExamplesPerEpisode * context : 0)),
        valued: updates * whole,
        // By the policy, the reference, the reward model and the value network.
        scored: 4 * episodes * whole,
        sampled: episodes * answer,
      },
      held + 1, // the average; the reference is one of those that are there
      {
        trained: 2,
        passes: [own, ...(isMixed ? [everyToken(text)] : []), scoring],
        accumulates: isMixed || ppo.minibatchSize > ppo.microBatchSize,
        sampling: sampling(defaultSlots(model, sampledLength)),
      },
    );
    held += 1; // its result
  };
  for (let round = 1; round <= rounds; round++) {
    const suffix = round === 1 ? "" : ` (round ${round})`;
    const ranked = ownComparisons ? rankings.length : Math.min(comparing.prompts, prompts.length);
    const answers = ownComparisons
      ? meanLength(rankings.map(({ responses }) => responses))
      : (comparing.fewest + comparing.most) / 2;
    const sequences = Math.round(answers * Math.min(reward.batchSize, reward.microBatchSize));
    const lengths = ownComparisons ? meanLength(rankings.flatMap(sequencesOf)) : whole;
    const training = (1 - comparing.validationShare) * ranked;
    add(
      `reward${suffix}`,
      {
        setting: "reward.microBatchSize",
        steps: reward.epochs * Math.ceil(training / reward.batchSize),
        trained: reward.epochs * training * answers * lengths,
        valued: reward.epochs * training * answers * lengths,
        scored: comparing.validationShare * ranked * answers * lengths,
        sampled: ownComparisons ? 0 : ranked * answers * answer,
      },
      held,
      {
        passes: [{ tokens: sequences * padded, predictions: 0 }, scoring],
        accumulates: reward.batchSize > reward.microBatchSize,
        sampling: sampling(answerSlots),
      },
    );
    held += round === 1 ? 2 : 1; // the reward model; the epoch that it chose is read from its file
    addPpo(ppo.ptxCoefficient, suffix);
    if (round === rounds) addPpo(0, suffix); // to compare
  }
  return plans;
}

const length = (members: ArrayLike<unknown>): number => members.length;

function sequenceOf({ prompt, response }: EncodedDemonstration): Tokens {
  return [...prompt, ...response];
}

function sequencesOf({ prompt, responses }: EncodedRanking): ReadonlyArray<Tokens> {
  return responses.map((response) => sequenceOf({ prompt, response }));
}

function largest<T>(items: ReadonlyArray<T>, size: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, size(item)), 0);
}

function meanLength(members: ReadonlyArray<Tokens | ReadonlyArray<unknown>>): number {
  return members.reduce((sum, { length }) => sum + length, 0) / members.length;
}

function roundUp(size: number, multiple: number): number {
  return Math.ceil(size / multiple) * multiple;
}
