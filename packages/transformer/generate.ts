import { fold, type Key, uniforms } from "@rlhf/core/random";
import type { Tokens } from "@rlhf/core/records";
import { createKvCache, decodeStep } from "@rlhf/tensor/decode_step";
import { sample } from "@rlhf/tensor/sample";
import { tokenLogProbs } from "@rlhf/tensor/token_log_probs";
import * as tf from "@tensorflow/tfjs-core";
import type { TransformerConfig } from "./config.ts";
import { isCausal } from "./is_causal.ts";
import { mergedParams, withoutAdapter } from "./lora.ts";
import type { Model } from "./model.ts";
import { decoderSpec, decoderWeights } from "./parameters.ts";

/** A sampled response. `tokens` includes the end-of-sequence token when there was one, which `finished` says. */
export interface Generation {
  readonly tokens: ReadonlyArray<number>;
  /** log p of each token under the tempered distribution, before `topK` and `topP` cut it. */
  readonly logProbs: ReadonlyArray<number>;
  readonly finished: boolean;
}

/** A token that has just been sampled for `prompts[prompt]`. */
export interface SampledToken {
  readonly prompt: number;
  readonly token: number;
}

export interface GenerateOptions {
  /** Any lengths ≥ 1; a response also ends where the model's context does. */
  readonly prompts: ReadonlyArray<Tokens>;
  readonly maxNewTokens: number;
  /** The end-of-sequence token, or several that end a response. */
  readonly eos: number | ReadonlyArray<number>;
  readonly temperature: number;
  readonly key: Key;
  /** How many sequences are in the key–value cache at once, by default {@link defaultSlots}. Changes speed and memory only. */
  readonly slots?: number;
  /** 1 is greedy decoding. */
  readonly topK?: number;
  readonly topP?: number;
  /**
   * Makes tokens that the prompt or the response has already less likely: their logits are divided by it where
   * positive and multiplied elsewhere (Keskar et al. 2019, arXiv:1909.05858). Above 1; not for rollouts.
   */
  readonly repetitionPenalty?: number;
  /** Called after every decoding step with the tokens it sampled. */
  readonly onTokens?: (tokens: ReadonlyArray<SampledToken>) => void;
  /** Stops the work at the next token; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A prompt being answered. */
interface Sequence {
  readonly prompt: number;
  readonly slot: number;
  /** Random numbers, one per token to be sampled. */
  readonly draws: Float32Array;
  /** Tokens that are not in the cache yet: the whole prompt at first, later the token sampled last. */
  pending: Tokens;
  /** Tokens in the cache. */
  cached: number;
  readonly tokens: Array<number>;
  readonly logProbs: Array<number>;
}

/**
 * Samples a response to every prompt with a key–value cache and continuous batching: a slot whose response has ended
 * takes the next prompt at once, so no slot waits for the longest response.
 *
 * Token i of prompt p is drawn with number i of the stream `fold(key, p)`: responses do not depend on the number of
 * slots nor on the other prompts. The event loop runs between steps.
 *
 * @returns one generation per prompt, in the order of the prompts
 * @throws RangeError when a prompt is empty or leaves no room in the context
 */
export async function generate(model: Model, options: GenerateOptions): Promise<ReadonlyArray<Generation>> {
  const { prompts, maxNewTokens, key, onTokens, signal } = options;
  const ends = new Set(typeof options.eos === "number" ? [options.eos] : options.eos);
  const { config } = model;
  assertGenerable(model, options);
  if (prompts.length === 0) return [];

  const longest = prompts.reduce((length, prompt) => Math.max(length, prompt.length), 0);
  const length = Math.min(longest + maxNewTokens, config.contextLength);
  const slots = Math.min(options.slots ?? defaultSlots(config, length), prompts.length);
  const spec = decoderSpec(config);
  const merged = mergedParams(model);
  const weights = decoderWeights({ config, params: { ...withoutAdapter(model).params, ...merged } });
  const cache = createKvCache(spec, { layers: config.layers, slots, length });
  const freeSlots = Array.from({ length: slots }, (_, slot) => slot);
  const results: Array<Generation> = [];
  let running: Array<Sequence> = [];
  let next = 0;
  try {
    while (running.length > 0 || next < prompts.length) {
      signal?.throwIfAborted();
      while (next < prompts.length && freeSlots.length > 0) {
        running.push({
          prompt: next,
          slot: freeSlots.pop()!,
          draws: uniforms(fold(key, next), maxNewTokens),
          pending: prompts[next]!,
          cached: 0,
          tokens: [],
          logProbs: [],
        });
        next += 1;
      }
      const logits = decodeStep({ spec, weights, cache, ...rowsOf(running) });
      const sampled = sampleNext(logits, running, options);
      const [ids, logProbs] = await Promise.all([sampled.ids.data(), sampled.logProbs.data()]);
      tf.dispose([logits, sampled.ids, sampled.logProbs]);

      const news = running.map((sequence, i) => {
        const token = ids[i]!;
        sequence.cached += sequence.pending.length;
        sequence.pending = [token];
        sequence.tokens.push(token);
        sequence.logProbs.push(logProbs[i]!);
        return { prompt: sequence.prompt, token };
      });
      onTokens?.(news);

      running = running.filter(({ prompt, slot, cached, tokens, logProbs }) => {
        const finished = ends.has(tokens.at(-1)!);
        if (!finished && tokens.length < maxNewTokens && cached < config.contextLength) return true;
        results[prompt] = { tokens, logProbs, finished };
        freeSlots.push(slot);
        return false;
      });
      await eventLoopTurn();
    }
    return results;
  } finally {
    cache.dispose();
    tf.dispose(Object.values(merged));
  }
}

/**
 * Sequences that share a decoding step: 64, as more are hardly faster by the token, or 32 where the keys and values of 64
 * would take more than half a gigabyte.
 *
 * @param length the longest sequence, prompt and response
 */
export function defaultSlots(config: TransformerConfig, length: number): number {
  const { kvHeads, headDim } = decoderSpec(config);
  const perSequence = 2 * config.layers * length * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
  return 64 * perSequence <= 2 ** 29 ? 64 : 32;
}

/** The rows of one decoding step: every token that is not in the cache yet; each sequence's last gives its logits. */
function rowsOf(running: ReadonlyArray<Sequence>) {
  const count = running.reduce((sum, { pending }) => sum + pending.length, 0);
  const ids = new Int32Array(count);
  const slots = new Int32Array(count);
  const positions = new Int32Array(count);
  const outputRows = new Int32Array(running.length);
  let row = 0;
  for (const [i, { slot, pending, cached }] of running.entries()) {
    for (const [offset, token] of pending.entries()) {
      ids[row] = token;
      slots[row] = slot;
      positions[row] = cached + offset;
      row += 1;
    }
    outputRows[i] = row - 1;
  }
  return { ids, slots, positions, outputRows };
}

function sampleNext(logits: tf.Tensor2D, running: ReadonlyArray<Sequence>, options: GenerateOptions) {
  const { prompts, temperature, topK, topP, repetitionPenalty = 1 } = options;
  return tf.tidy(() => {
    const draws = tf.tensor1d(Float32Array.from(running, ({ draws, tokens }) => draws[tokens.length]!));
    if (repetitionPenalty === 1) return sample(logits, draws, { temperature, topK, topP });
    const texts = running.map(({ prompt, tokens }) => [...prompts[prompt]!, ...tokens]);
    const { ids } = sample(penalized(logits, texts, repetitionPenalty), draws, { temperature, topK, topP });
    return { ids, logProbs: tokenLogProbs(logits, ids, { temperature }) as tf.Tensor1D };
  });
}

/** The logits `[n, vocab]` with those of the tokens in each row's text made less likely. */
export function penalized(
  logits: tf.Tensor2D,
  texts: ReadonlyArray<Tokens>,
  repetitionPenalty: number,
): tf.Tensor2D {
  const [, vocab] = logits.shape;
  const seen = new Float32Array(logits.size);
  texts.forEach((text, row) => {
    for (const token of text) seen[row * vocab + token] = 1;
  });
  return tf.tidy(() => {
    const lower = tf.minimum(tf.mul(logits, repetitionPenalty), tf.div(logits, repetitionPenalty));
    return tf.where(tf.greater(tf.tensor2d(seen, logits.shape), 0), lower, logits) as tf.Tensor2D;
  });
}

function assertGenerable({ config }: Model, options: GenerateOptions): void {
  const { prompts, maxNewTokens, slots = 1, repetitionPenalty = 1 } = options;
  if (!isCausal(config)) {
    throw new RangeError(`Cannot generate: a causal model is required, got ${config.architecture}`);
  }
  for (const [name, value] of Object.entries({ maxNewTokens, slots })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`Cannot generate: ${name} must be an integer ≥ 1, got ${value}`);
    }
  }
  if (!(repetitionPenalty >= 1)) {
    throw new RangeError(`Cannot generate: repetitionPenalty must be at least 1, got ${repetitionPenalty}`);
  }
  for (const [index, prompt] of prompts.entries()) {
    if (prompt.length === 0 || prompt.length > config.contextLength) {
      throw new RangeError(
        `Cannot generate: prompt ${index} must have 1 to ${config.contextLength} tokens, the model's context, got ${prompt.length}`,
      );
    }
  }
}

/**
 * Lets the event loop run. Browsers lack `setImmediate`, and their timers wait 4 ms; a message comes at once. In Node it
 * would not do: messages that follow each other are handled in one turn, and timers and input wait.
 */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") return void setImmediate(resolve);
    const { port1, port2 } = new MessageChannel();
    const arrived = () => {
      port1.close();
      resolve();
    };
    port1.addEventListener("message", arrived, { once: true });
    port1.start();
    port2.postMessage(undefined);
  });
}
