/** What is measured: sizes, bars and aims. */

/** How products are computed, on devices that have a choice. */
export type Precision = "fp32" | "tf32" | "bf16";

interface Shape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
}

/** What a process is told. `repeats` runs make a round, long enough to be timed. */
interface Common {
  readonly threads: number;
  /** Our backend, and PyTorch's device; GPUs synchronise at the end of a round. */
  readonly backend: string;
  readonly device: "cpu" | "cuda";
  readonly precision: Precision;
  readonly warmups: number;
  readonly repeats: number;
}
export interface ModelWork {
  readonly model: Shape;
  readonly batch: number;
  /** Tokens of a row, or of a prompt. */
  readonly time: number;
}
export interface GenerationWork extends ModelWork {
  readonly newTokens: number;
}
export interface PpoWork extends GenerationWork {
  readonly minibatch: number;
}
export interface ProductWork {
  readonly shapes: ReadonlyArray<readonly [m: number, n: number, k: number]>;
  /** N: as stored, T: the transpose of what is stored. */
  readonly forms: ReadonlyArray<string>;
  /** Floating-point operations of each product in a round. */
  readonly flops: number;
}
export type TokenWork =
  | ({ readonly kind: "training" } & ModelWork)
  | ({ readonly kind: "generation" } & GenerationWork)
  | ({ readonly kind: "ppo" } & PpoWork);
/** What is no measure: whether the numbers are right. */
export const checks = ["operations", "stages"] as const;
export type Check = (typeof checks)[number];
export type Work =
  | TokenWork
  | ({ readonly kind: "products" } & ProductWork)
  | { readonly kind: "launches" | Check };
export type Task = Work & Common & { readonly checkpoint: string; readonly variant: string };

export interface Comparison {
  readonly group: "train" | "generate" | "ppo";
  readonly name: string;
  readonly work: TokenWork;
  readonly repeats: number;
  readonly rounds: number;
  /** Variants of the peer; the fastest counts. */
  readonly peers: ReadonlyArray<string>;
  /** Products on both sides; fp32 unless said otherwise. */
  readonly precision?: Precision;
  /** Speed in units of the peer's, from the project's goals. */
  readonly bar: number;
  readonly aim: number;
  /** Whether peak memory is compared too, and its bar. */
  readonly memoryBar?: number;
}

const tiny: Shape = { layers: 2, width: 64, heads: 2, vocabSize: 256, contextLength: 64 };
const small: Shape = { layers: 4, width: 256, heads: 4, vocabSize: 4096, contextLength: 128 };
const gpt2: Shape = { layers: 12, width: 768, heads: 12, vocabSize: 50257, contextLength: 1024 };

const bothWays = ["eager", "compiled"];
const sampling = { kind: "generation", model: small, batch: 16, time: 16, newTokens: 64 } as const;

export const comparisons: ReadonlyArray<Comparison> = [
  {
    group: "train",
    name: "training step, L4 D256 H4 V4096, 16×128 tokens",
    work: { kind: "training", model: small, batch: 16, time: 128 },
    repeats: 3,
    rounds: 11,
    peers: bothWays,
    bar: 1.3,
    aim: 1.6,
    memoryBar: 0.8,
  },
  {
    group: "train",
    name: "training step, tiny L2 D64 H2 V256, 8×64 tokens",
    work: { kind: "training", model: tiny, batch: 8, time: 64 },
    repeats: 100,
    rounds: 11,
    peers: bothWays,
    bar: 1.5,
    aim: 3,
  },
  {
    group: "train",
    name: "training step, GPT-2 124M, 4×256 tokens",
    work: { kind: "training", model: gpt2, batch: 4, time: 256 },
    repeats: 1,
    rounds: 7,
    peers: bothWays,
    bar: 1.1,
    aim: 1.3,
    memoryBar: 0.8,
  },
  {
    group: "generate",
    name: "sampling with a KV cache, batch 16, 64 tokens",
    work: sampling,
    repeats: 2,
    rounds: 11,
    peers: bothWays,
    bar: 3,
    aim: 5,
  },
  {
    group: "generate",
    name: "the same against transformers.generate",
    work: sampling,
    repeats: 2,
    rounds: 11,
    peers: ["transformers"],
    bar: 5,
    aim: 10,
  },
  {
    group: "ppo",
    name: "PPO iteration, 64 episodes of 16 + 32 tokens, L4 D256",
    work: { kind: "ppo", model: small, batch: 64, time: 16, newTokens: 32, minibatch: 32 },
    repeats: 1,
    rounds: 7,
    peers: bothWays,
    bar: 2,
    aim: 4,
  },
];

/** Of the machine's measured peak. */
export const productGoals = { bar: 0.75, aim: 0.85 };
/** Products of a training step of the two larger models, forward (NN) and backward (NT, TN). */
export const products: ProductWork = {
  shapes: [
    [2048, 768, 256],
    [2048, 1024, 256],
    [2048, 256, 1024],
    [2048, 4096, 256],
    [1024, 2304, 768],
    [1024, 3072, 768],
    [1024, 768, 3072],
  ],
  forms: ["NN", "NT", "TN"],
  flops: 1e10,
};

/** One axis at a time from a common middle; what a token costs must not jump. */
const training = (model: Partial<Shape>, batch: number, time: number) =>
  ({ kind: "training", model: { ...small, contextLength: time, ...model }, batch, time }) as const;
const generation = (model: Partial<Shape>, batch: number, newTokens: number) =>
  ({
    kind: "generation",
    model: { ...small, contextLength: 1024, ...model },
    batch,
    time: 16,
    newTokens,
  }) as const;
const sizes: ReadonlyArray<Partial<Shape>> = [
  { layers: 2, width: 64 },
  { layers: 2, width: 128 },
  { layers: 4, width: 256 },
  { layers: 8, width: 512, heads: 8 },
];
export const scaling: ReadonlyArray<{
  readonly axis: string;
  readonly works: ReadonlyArray<Exclude<TokenWork, { readonly kind: "ppo" }>>;
}> = [
  { axis: "training, batch", works: [1, 4, 16, 64].map((batch) => training({}, batch, 128)) },
  { axis: "training, context", works: [32, 128, 512, 1024].map((time) => training({}, 2048 / time, time)) },
  { axis: "training, model", works: sizes.map((model) => training(model, 16, 128)) },
  { axis: "sampling, batch", works: [1, 4, 16, 64].map((batch) => generation({}, batch, 64)) },
  { axis: "sampling, context", works: [16, 64, 256, 1000].map((tokens) => generation({}, 16, tokens)) },
  { axis: "sampling, model", works: sizes.map((model) => generation(model, 16, 64)) },
];

/** Tokens that a run of the work trains on or samples. */
export const tokensOf = (work: TokenWork): number =>
  work.batch * (work.kind === "training" ? work.time : work.newTokens);

/**
 * Floating-point operations per token: two for every weight and for every element of keys and values read, three
 * times as many for training (forward and both gradients). Biases, norms and the softmax are left out.
 */
export function flopsPerToken(work: ModelWork & { readonly newTokens?: number }): number {
  const { layers, width, vocabSize } = work.model;
  const weights = layers * 12 * width ** 2 + vocabSize * width;
  const seen = work.newTokens === undefined ? work.time / 2 : work.time + work.newTokens / 2;
  const forward = 2 * (weights + layers * 2 * width * seen);
  return work.newTokens === undefined ? 3 * forward : forward;
}

/** The same measures over in seconds, to see that everything runs. */
export function smallest(work: Work): Work {
  if (work.kind === "products") return { ...work, shapes: [[16, 32, 8]], forms: ["NN"], flops: 1 };
  if (!("model" in work)) return work;
  const model = { layers: 1, width: 16, heads: 2, vocabSize: 32, contextLength: 16 };
  const size = { batch: 2, time: 8, newTokens: 4, minibatch: 2 };
  return { ...work, ...size, model };
}
