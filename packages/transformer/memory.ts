import type { TransformerConfig } from "./config.ts";
import { loraShapes } from "./lora.ts";
import type { LoraConfig } from "./lora_config.ts";
import { parameterCount } from "./parameters.ts";

/** A forward pass. */
export interface Pass {
  /** Tokens in it, padding included. */
  readonly tokens: number;
  /** How many of them are predicted; 0 for a network that gives one number. */
  readonly predictions: number;
  /** Whether dropout is on. */
  readonly dropout?: boolean;
  /** Whether no gradients are taken of it. */
  readonly forwardOnly?: boolean;
}

/** What a stage of training holds at its peak. All networks have one shape. */
export interface StageShape {
  readonly config: TransformerConfig;
  /** Where the networks are adapters above one base, which stands still. */
  readonly lora?: LoraConfig;
  /** Networks that are trained, one after the other. */
  readonly trained: number;
  /** Networks besides: references, reward models, averages. */
  readonly held: number;
  /** The forward passes of the stage, or the largest of them. */
  readonly passes: ReadonlyArray<Pass>;
  /** Whether gradients of several passes are added up before a step. */
  readonly accumulates: boolean;
  /** Sequences that are sampled at once, and their longest length. */
  readonly sampling?: { readonly slots: number; readonly length: number };
}

/** Bytes. */
export interface StageMemory {
  readonly weights: number;
  readonly gradients: number;
  /** Both moments of AdamW. */
  readonly optimizer: number;
  readonly activations: number;
  readonly cache: number;
  /** At the peak: training and sampling take turns in the same memory. */
  readonly total: number;
}

const floatBytes = 4;
/** The native backend keeps logits up to this many for the gradient. */
const keptLogits = 2 ** 24;

/**
 * The memory that a stage of training takes, in float32 with the native backend. Without its fused kernels a backend keeps
 * more of a forward pass, attention scores above all: then it is a lower bound. Gradients are added up in place, but those of
 * a pass are whole before that. `cuda` keeps as much in fp32 and tf32 (of GPT-2 with 8×1,024 tokens 4.94 GB, 4.95 by this),
 * and logits of up to a 64th of its memory; in bf16 weights take half as much again and activations six tenths (2.81 GB).
 *
 *     weights = 4 · P · networks      optimizer = 8 · P · trained networks      gradients = 4 · P, twice where passes are added up
 *     total = weights + optimizer + max(gradients + activations, cache)
 */
export function stageMemory(stage: StageShape): StageMemory {
  const { config, lora, trained, held, passes, accumulates, sampling } = stage;
  const whole = floatBytes * parameterCount(config);
  const size = lora === undefined ? whole : adapterBytes(config, lora).adapter;
  const weights = (lora === undefined ? 0 : whole) + (trained + held) * size;
  const optimizer = 2 * trained * size;
  // The gradient of the embedding comes from both ends of the network, and the two are added.
  const twice = lora === undefined ? floatBytes * config.vocabSize * config.width : 0;
  const gradients = (accumulates ? 2 : 1) * size + twice;
  // On the way back: gradients at the widest map, before and behind its activation, and of the residual stream.
  const wayBack = mapWidths(config).inner + 2 * config.width;
  const activations = Math.max(
    ...passes.map(
      (pass) => passBytes(config, pass) + (pass.forwardOnly ? 0 : floatBytes * pass.tokens * wayBack),
    ),
  );
  const merged = lora === undefined ? 0 : adapterBytes(config, lora).maps; // sampling merges them with the adapter
  const cache = sampling === undefined ? 0 : cacheBytes(config, sampling) + merged;
  const total = weights + optimizer + Math.max(gradients + activations, cache);
  return { weights, gradients, optimizer, activations, cache, total };
}

/** What a forward pass keeps for the way back: inputs of every map, pre-activations, logits; without gradients a block's at a time. */
export function passBytes(config: TransformerConfig, pass: Pass): number {
  const { tokens, predictions, dropout = false, forwardOnly = false } = pass;
  const { layers, width, vocabSize } = config;
  const { qkv, mixed, inner } = mapWidths(config, dropout);
  // Two norms and two residual sums; dropout keeps what it is applied to, its mask and the product.
  const block = (dropout ? 10 : 4) * width + qkv + mixed + inner;
  const embedded = (dropout ? 6 : 4) * width;
  const logits = predictions * vocabSize;
  const perToken = (forwardOnly ? 1 : layers) * block + embedded;
  return floatBytes * (tokens * perToken + predictions * width + (logits <= keptLogits ? logits : 0));
}

/** Numbers per token that a block's maps give. */
function mapWidths(
  config: TransformerConfig,
  dropout = false,
): {
  readonly qkv: number;
  readonly mixed: number;
  readonly inner: number;
} {
  const { heads, width } = config;
  if ("kvHeads" in config) {
    const { kvHeads, headDim, innerWidth, ropeScaling } = config;
    const normedHeads = config.architecture === "qwen3";
    // Queries, keys and values: the kernel of a whole block rotates them in place, each operation by itself gives new ones.
    const composed = dropout || normedHeads || ropeScaling !== undefined;
    const copies = 1 + Number(composed) + 2 * Number(normedHeads); // each head by itself, normed and joined again
    // Of the gate both sides and their product.
    return { qkv: copies * (heads + 2 * kvHeads) * headDim, mixed: heads * headDim, inner: 3 * innerWidth };
  }
  // Behind the activation and before it.
  return {
    qkv: 3 * width,
    mixed: width,
    inner: 2 * ("innerWidth" in config ? config.innerWidth : 4 * width),
  };
}

/** Of an adapter, and of the maps that it changes. */
function adapterBytes(config: TransformerConfig, lora: LoraConfig) {
  const { rank } = lora;
  const sizes = Object.values(loraShapes(config, lora)).map(([rows, columns]) => (rows * columns) / rank);
  const sum = (count: (size: number, i: number) => number) =>
    floatBytes * sizes.reduce((total, size, i) => total + count(size, i), 0);
  // A and B come in turns: [rank, in] and [out, rank].
  return {
    adapter: sum((size) => rank * size),
    maps: sum((size, i) => (i % 2 === 0 ? size * sizes[i + 1]! : 0)),
  };
}

/** Keys and values, and the logits of a step. */
function cacheBytes(config: TransformerConfig, { slots, length }: Required<StageShape>["sampling"]): number {
  const { layers, width, vocabSize } = config;
  const keys = "kvHeads" in config ? config.kvHeads * config.headDim : width;
  return floatBytes * slots * (2 * layers * length * keys + vocabSize);
}
