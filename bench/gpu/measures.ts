/** What is measured on a GPU: sizes, and the bars of the project's goals on a Hopper GPU in bfloat16. */
import type { Comparison, Precision, ProductWork } from "../speed/measures.ts";

const gpt2 = { layers: 12, width: 768, heads: 12, vocabSize: 50257, contextLength: 1024 } as const;
const bothWays = ["eager", "compiled"];
const decoding = (batch: number): Array<Comparison> =>
  [
    { peer: "transformers", title: "transformers.generate", bar: 5, aim: 10 },
    { peer: "static", title: "generate with a static cache", bar: 1.5, aim: 3 },
  ].map(({ peer, title, bar, aim }) => ({
    group: "generate",
    name: `decoding, batch ${batch}, against ${title}`,
    work: { kind: "generation", model: gpt2, batch, time: 16, newTokens: 128 },
    repeats: 1,
    rounds: 5,
    peers: [peer],
    bar,
    aim,
  }));

export const gpuComparisons: ReadonlyArray<Comparison> = [
  {
    group: "train",
    name: "training step, GPT-2 124M, 8×1,024 tokens",
    work: { kind: "training", model: gpt2, batch: 8, time: 1024 },
    repeats: 3,
    rounds: 7,
    peers: bothWays,
    bar: 0.77,
    aim: 1,
  },
  ...[1, 64, 256].flatMap(decoding),
  {
    group: "ppo",
    name: "PPO iteration, GPT-2 124M, 64 episodes of 64 + 64 tokens",
    work: { kind: "ppo", model: gpt2, batch: 64, time: 64, newTokens: 64, minibatch: 16 },
    repeats: 1,
    rounds: 5,
    peers: bothWays,
    bar: 2,
    aim: 3,
  },
];

export const gpuProducts: ProductWork = {
  shapes: [
    [8192, 8192, 8192],
    [8192, 3072, 768],
    [8192, 768, 3072],
    [8192, 50257, 768],
  ],
  forms: ["NN", "NT"],
  flops: 4e12,
};

/** Tera-operations a second with dense matrices, from the makers' data sheets. */
const peaks: ReadonlyArray<readonly [model: RegExp, Readonly<Record<Precision, number>>]> = [
  [/H100 PCIe/, { fp32: 51, tf32: 378, bf16: 756 }],
  [/H100|H200|GH200/, { fp32: 67, tf32: 494, bf16: 989 }],
  [/A100/, { fp32: 19.5, tf32: 156, bf16: 312 }],
  [/A10\b/, { fp32: 31.2, tf32: 62.5, bf16: 125 }],
  [/L40S/, { fp32: 91.6, tf32: 183, bf16: 362 }],
  [/L4\b/, { fp32: 30.3, tf32: 60, bf16: 121 }],
  [/RTX 4090/, { fp32: 82.6, tf32: 82.6, bf16: 165 }],
];

/** Floating-point operations a second that the maker promises. */
export function peakOf(gpu: string | undefined, precision: Precision): number | undefined {
  const known = gpu === undefined ? undefined : peaks.find(([model]) => model.test(gpu));
  return known && 1e12 * known[1][precision];
}
