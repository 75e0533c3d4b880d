import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { padRight } from "@rlhf/data/token_batch";
import { disposeAdamw, initAdamw, trainStep } from "@rlhf/optim";
import {
  cloneModel,
  disposeModel,
  generate,
  type Model,
  nextTokenLogProbs,
  toSequences,
} from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { logProbsOf } from "./log_probs_of.ts";

/** Tokens a second. */
export interface Speeds {
  readonly sampling: number;
  readonly scoring: number;
  readonly training: number;
}

/** Tokens of a batch with its padding, at most. */
const batchTokens = 4096;

/**
 * How fast the three phases of training are on these sequences, or as many of them as make a batch of ordinary size. What is
 * done first warms up. The model is left as it is.
 */
export async function speeds(
  model: Model,
  given: ReadonlyArray<Tokens>,
  { eos, pad, key }: { readonly eos: number; readonly pad: number; readonly key: Key },
): Promise<Speeds> {
  const longest = Math.max(...given.map(({ length }) => length));
  const sequences = given.slice(0, Math.max(1, Math.floor(batchTokens / longest)));
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  const prompts = sequences.map((sequence) => sequence.slice(0, Math.max(1, sequence.length >> 1)));
  const sample = async () => {
    const generations = await generate(model, { prompts, maxNewTokens: 16, eos, temperature: 1, key });
    return generations.reduce((sum, generation) => sum + generation.tokens.length, 0);
  };
  const scored = async () => {
    await logProbsOf(model, sequences, { padId: pad, multipleOf: 1 });
    return tokens;
  };
  const trained = async () => {
    await trainOnce(model, sequences, pad);
    return tokens;
  };
  return {
    sampling: await tokensPerSecond(sample),
    scoring: await tokensPerSecond(scored),
    training: await tokensPerSecond(trained),
  };
}

async function trainOnce(model: Model, sequences: ReadonlyArray<Tokens>, padId: number): Promise<void> {
  const trained = cloneModel(model);
  const state = initAdamw(trained.params);
  const batch = padRight(
    sequences.map((tokens) => ({ tokens })),
    { padId, multipleOf: 1 },
  );
  const loss = (): tf.Scalar => tf.neg(tf.mean(nextTokenLogProbs(trained, toSequences(batch)).logProbs));
  try {
    await trainStep({ params: trained.params, state, losses: [loss], learningRate: 1e-6, maxGradNorm: 1 });
  } finally {
    disposeAdamw(state);
    disposeModel(trained);
  }
}

async function tokensPerSecond(work: () => Promise<number>): Promise<number> {
  await work();
  const started = performance.now();
  const tokens = await work();
  return (1000 * tokens) / (performance.now() - started);
}
