import type { Fields } from "./flags.ts";

/** Settings that all presets share: what small models trained from scratch need in place of InstructGPT's 1.3B figures. */
const shared = {
  seed: 1,
  backend: "auto",
  rounds: 3,
  run: null,
  base: null,
  corpus: null,
  demonstrations: null,
  comparisons: null,
  vocabulary: 8192,
  lora: { rank: 0, alpha: 32, dropout: 0.1 },
} as const;

/** Sized for two CPU cores with the native engine: about ten minutes. */
const laptop = {
  ...shared,
  model: { layers: 2, width: 128, heads: 4, contextLength: 64 },
  tasks: { demonstrations: 5000, validation: 200, prompts: 8600, evaluation: 1200 },
  pretrain: {
    steps: 2600,
    batchSize: 16,
    microBatchSize: 16,
    learningRate: 2e-3,
    warmupSteps: 200,
    floorShare: 0.1,
    weightDecay: 0.1,
    maxGradNorm: 1,
    evaluateEvery: 650,
  },
  sft: {
    epochs: 4,
    batchSize: 16,
    microBatchSize: 16,
    learningRate: 1e-3,
    floorShare: 0.1,
    dropout: 0.1,
    maxGradNorm: 1,
  },
  comparing: {
    prompts: 8600,
    fewest: 4,
    most: 9,
    labelers: 3,
    validationShare: 0.04,
    noise: 0.12,
    overlap: 0.035,
  },
  reward: {
    epochs: 2,
    batchSize: 16,
    microBatchSize: 16,
    learningRate: 1e-3,
    floorShare: 0.1,
    maxGradNorm: 1,
  },
  ppo: {
    iterations: 40,
    batchSize: 128,
    minibatchSize: 64,
    microBatchSize: 64,
    epochs: 1,
    maxNewTokens: 32,
    temperature: 0.7,
    missingEosPenalty: 1,
    policyLearningRate: 4e-4,
    criticLearningRate: 3e-4,
    warmupIterations: 5,
    maxGradNorm: 1,
    emaDecay: 0.9,
    gamma: 1,
    lambda: 0.95,
    clipRange: 0.2,
    valueClipRange: 0.2,
    whitenRewards: false,
    klControl: { _tag: "Adaptive", coefficient: 0.1, target: 3.5, horizon: 1000 },
    ptxCoefficient: 0.25,
    ptxExamplesPerEpisode: 1,
    sampleEvery: 20,
    samples: 4,
  },
  evaluation: { temperature: 0.7, resamples: 1000 },
} as const satisfies Fields;

/** For the wasm backend, several times slower than the native engine: everything a size smaller. */
const small = {
  ...laptop,
  rounds: 1,
  vocabulary: 4096,
  model: { layers: 2, width: 64, heads: 2, contextLength: 64 },
  tasks: { ...laptop.tasks, demonstrations: 2000, evaluation: 400 },
  pretrain: { ...laptop.pretrain, steps: 500, warmupSteps: 50, evaluateEvery: 250 },
  sft: { ...laptop.sft, epochs: 2 },
  comparing: { ...laptop.comparing, prompts: 800, validationShare: 0.15, overlap: 0.1 },
  ppo: { ...laptop.ppo, iterations: 12, sampleEvery: 6 },
} as const satisfies Fields;

/** Every stage, so small that a test can wait for it; nothing of note is learned. */
const smoke = {
  ...laptop,
  rounds: 2,
  vocabulary: 1024,
  model: { layers: 2, width: 32, heads: 2, contextLength: 64 },
  tasks: { demonstrations: 200, validation: 40, prompts: 80, evaluation: 40 },
  pretrain: { ...laptop.pretrain, steps: 20, warmupSteps: 5, evaluateEvery: 10 },
  sft: { ...laptop.sft, epochs: 2 },
  comparing: { ...laptop.comparing, prompts: 24, validationShare: 0.1, overlap: 0.1 },
  ppo: {
    ...laptop.ppo,
    iterations: 2,
    batchSize: 16,
    minibatchSize: 8,
    maxNewTokens: 16,
    sampleEvery: 1,
    samples: 2,
  },
  evaluation: { ...laptop.evaluation, resamples: 100 },
} as const satisfies Fields;

/**
 * GPT-2 with 124M parameters from its checkpoint, with InstructGPT's figures as far as one GPU can bear them: fewer epochs of SFT
 * (each is a checkpoint of 0.5 GB), 51,200 episodes of its 256,000, and one row of text to an episode, of 1,024 tokens, in place of
 * eight. The learning rates are those of its smallest model, that of the policy lm-human-preferences' for this very model.
 */
const gpt2 = {
  ...shared,
  rounds: 1,
  base: "openai-community/gpt2",
  model: { layers: 12, width: 768, heads: 12, contextLength: 1024 },
  tasks: laptop.tasks,
  pretrain: laptop.pretrain,
  sft: {
    epochs: 4,
    batchSize: 32,
    microBatchSize: 4,
    learningRate: 9.65e-6,
    floorShare: 0.1,
    dropout: 0.2,
    maxGradNorm: 1,
  },
  comparing: laptop.comparing,
  reward: {
    epochs: 1,
    batchSize: 64,
    microBatchSize: 4,
    learningRate: 9e-6,
    floorShare: 0.1,
    maxGradNorm: 1,
  },
  ppo: {
    ...laptop.ppo,
    iterations: 100,
    batchSize: 512,
    minibatchSize: 64,
    microBatchSize: 8,
    maxNewTokens: 128,
    temperature: 1,
    policyLearningRate: 5e-6,
    criticLearningRate: 9e-6,
    warmupIterations: 10,
    emaDecay: 0.992,
    klControl: { _tag: "Fixed", coefficient: 0.02 },
    ptxCoefficient: 27.8,
    sampleEvery: 10,
  },
  evaluation: { temperature: 1, resamples: 1000 },
} as const satisfies Fields;

/** The same by adapters, with the learning rate of Hu et al. 2021 (arXiv:2106.09685, appendix D.3) for GPT-2, and half of it for PPO. */
const gpt2Lora = {
  ...gpt2,
  lora: { ...gpt2.lora, rank: 16 },
  sft: { ...gpt2.sft, learningRate: 2e-4, dropout: 0 },
  reward: { ...gpt2.reward, learningRate: 2e-4 },
  ppo: { ...gpt2.ppo, policyLearningRate: 1e-4, criticLearningRate: 1e-4 },
} as const satisfies Fields;

export const defaultPreset = "laptop";
export const presets: Readonly<Record<string, Fields>> = {
  laptop,
  small,
  smoke,
  gpt2,
  "gpt2-lora": gpt2Lora,
};
