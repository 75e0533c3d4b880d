import { totalmem } from "node:os";
import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { padRight } from "@rlhf/data";
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
import type { Finding } from "./finding.ts";
import { logProbsOf } from "./log_probs_of.ts";

/** How fast the three phases of training are, and what they take of memory. The model is left as it is. */
export async function phases(
  model: Model,
  sequences: ReadonlyArray<Tokens>,
  { eos, pad, key }: { readonly eos: number; readonly pad: number; readonly key: Key },
): Promise<ReadonlyArray<Finding>> {
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  const before = tf.memory().numTensors;
  const prompts = sequences.map((sequence) => sequence.slice(0, Math.max(1, sequence.length >> 1)));
  let written = 0;
  const sampling = await secondsOf(async () => {
    const generations = await generate(model, { prompts, maxNewTokens: 16, eos, temperature: 1, key });
    written = generations.reduce((sum, generation) => sum + generation.tokens.length, 0);
  });
  const scoring = await secondsOf(() => logProbsOf(model, sequences, { padId: pad, multipleOf: 1 }));
  const training = await secondsOf(() => trainOnce(model, sequences, pad));
  const leaked = tf.memory().numTensors - before;
  const weights = bytesOf(model);
  const used = process.memoryUsage.rss();
  return [
    {
      check: "speed",
      passed: true,
      found: `tokens a second: ${rate(written, sampling)} sampled, ${rate(tokens, scoring)} scored, ${rate(tokens, training)} trained on`,
      remedy: "",
    },
    {
      check: "memory",
      // Policy and value network with two moments each, gradients of one at a time, average, reference, reward model.
      passed: leaked === 0 && 10 * weights < 0.9 * totalmem(),
      found: `weights ${megabytes(weights)}; PPO keeps ten times that, ${megabytes(10 * weights)}, and activations; this process has ${megabytes(used)} of ${megabytes(totalmem())}${leaked === 0 ? "" : `; ${leaked} tensors were not freed`}`,
      remedy: "take a smaller model, an adapter (LoRA), or a machine with more memory",
    },
  ];
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

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

function bytesOf({ params, adapter }: Model): number {
  return Object.values({ ...adapter?.base, ...params }).reduce((sum, { size }) => sum + 4 * size, 0);
}

function rate(count: number, seconds: number): string {
  return Math.round(count / seconds).toLocaleString("en");
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
}
