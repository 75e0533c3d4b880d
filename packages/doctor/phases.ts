import type { Key } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { type Model, type StageMemory, stageMemory } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import type { Finding } from "./finding.ts";
import { speeds } from "./speeds.ts";
import { shareInWords, tensorMemory } from "./tensor_memory.ts";

/** Sequences in a forward pass that training can do with: smaller micro-batches hardly save anything. */
const microBatch = 8;

/**
 * How fast the three phases of training are, and what PPO would take of memory with the longest sequence of the data. The
 * model is left as it is.
 */
export async function phases(
  model: Model,
  sequences: ReadonlyArray<Tokens>,
  options: { readonly eos: number; readonly pad: number; readonly key: Key; readonly longest: number },
): Promise<ReadonlyArray<Finding>> {
  const before = tf.memory().numTensors;
  const { sampling, scoring, training } = await speeds(model, sequences, options);
  const leaked = tf.memory().numTensors - before;
  const memory = ppoMemory(model, options.longest);
  const available = tensorMemory();
  return [
    {
      check: "speed",
      passed: true,
      found: `tokens a second: ${rounded(sampling)} sampled, ${rounded(scoring)} scored, ${rounded(training)} trained on`,
      remedy: "",
    },
    {
      check: "memory",
      passed: leaked === 0 && memory.total < 0.9 * (available.bytes ?? Number.POSITIVE_INFINITY),
      found: `PPO would take ${shareInWords(memory.total, available)} (${parts(memory)}), with ${microBatch} sequences of ${options.longest} tokens at a time${leaked === 0 ? "" : `; ${leaked} tensors were not freed`}`,
      remedy: `take a smaller model, shorter texts, an adapter (LoRA, which takes less than this), or a ${available.of} with more memory`,
    },
  ];
}

function ppoMemory({ config }: Model, longest: number): StageMemory {
  const tokens = microBatch * longest;
  return stageMemory({
    config,
    trained: 2, // policy and value network
    held: 3, // average, reference, reward model
    passes: [{ tokens, predictions: tokens }],
    accumulates: true,
    sampling: { slots: microBatch, length: longest },
  });
}

function parts({ weights, gradients, optimizer, activations, cache }: StageMemory): string {
  return Object.entries({ weights, gradients, AdamW: optimizer, activations, cache })
    .map(([name, bytes]) => `${name} ${rounded(bytes / 1e6)} MB`)
    .join(", ");
}

function rounded(value: number): string {
  return Math.round(value).toLocaleString("en");
}
