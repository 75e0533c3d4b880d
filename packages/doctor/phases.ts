import { totalmem } from "node:os";
import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import type { Model } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import type { Finding } from "./finding.ts";
import { speeds } from "./speeds.ts";

/** How fast the three phases of training are, and what they take of memory. The model is left as it is. */
export async function phases(
  model: Model,
  sequences: ReadonlyArray<Tokens>,
  options: { readonly eos: number; readonly pad: number; readonly key: Key },
): Promise<ReadonlyArray<Finding>> {
  const before = tf.memory().numTensors;
  const { sampling, scoring, training } = await speeds(model, sequences, options);
  const leaked = tf.memory().numTensors - before;
  const weights = bytesOf(model);
  const used = process.memoryUsage.rss();
  return [
    {
      check: "speed",
      passed: true,
      found: `tokens a second: ${rounded(sampling)} sampled, ${rounded(scoring)} scored, ${rounded(training)} trained on`,
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

function bytesOf({ params, adapter }: Model): number {
  return Object.values({ ...adapter?.base, ...params }).reduce((sum, { size }) => sum + 4 * size, 0);
}

function rounded(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function megabytes(bytes: number): string {
  return `${rounded(bytes / 1e6)} MB`;
}
