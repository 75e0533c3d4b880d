/**
 * Speed of the native backend: products, a training step of a GPT-2 and sampling from it.
 * The peer, PyTorch on the same sizes, is `references/backend-native_peer.py`.
 *
 *     npx tsx bench/native_engine.ts train small 12
 *     npx tsx bench/native_engine.ts sample small 6
 *     npx tsx bench/native_engine.ts products
 *     npx tsx bench/native_engine.ts profile small 6    # milliseconds of a training step by kernel
 *
 * Besides wall time it reports processor time, which a busy machine disturbs less.
 */
import { integers, key } from "@rlhf/core/random";
import { initAdamw } from "@rlhf/optim/adamw";
import { trainStep } from "@rlhf/optim/train_step";
import { useBackend } from "@rlhf/tensor/backend";
import { toSequences } from "@rlhf/transformer/batch";
import { generate } from "@rlhf/transformer/generate";
import { initModel } from "@rlhf/transformer/init";
import { nextTokenLogProbs } from "@rlhf/transformer/log_probs";
import * as tf from "@tensorflow/tfjs-core";

const sizes = {
  tiny: { layers: 2, width: 64, heads: 2, vocabSize: 256, contextLength: 64, batch: 8 },
  small: { layers: 4, width: 256, heads: 4, vocabSize: 4096, contextLength: 128, batch: 16 },
} as const;

const [command = "train", sizeName = "small", repeatsText = "10"] = process.argv.slice(2);
const repeats = Number(repeatsText);
const { batch, ...shape } = sizes[sizeName as keyof typeof sizes] ?? sizes.small;
const config = { architecture: "gpt2", ...shape } as const;

console.log((await useBackend((process.env.BENCH_BACKEND ?? "native") as "native")).reason);

interface Timing {
  readonly wall: number[];
  readonly processor: number[];
}
const measure = async (run: () => Promise<unknown>, warmups: number): Promise<Timing> => {
  const timing: Timing = { wall: [], processor: [] };
  for (let i = -warmups; i < repeats; i++) {
    const [before, start] = [process.cpuUsage(), performance.now()];
    await run();
    const used = process.cpuUsage(before);
    if (i < 0) continue;
    timing.wall.push(performance.now() - start);
    timing.processor.push((used.user + used.system) / 1000);
  }
  return timing;
};
const report = (what: string, { wall, processor }: Timing, tokens: number) => {
  const sorted = (times: number[]) => times.toSorted((a, b) => a - b);
  const [best, median] = [sorted(wall)[0]!, sorted(wall)[wall.length >> 1]!];
  const cpu = sorted(processor)[processor.length >> 1]!;
  const row = {
    best_ms: best,
    median_ms: median,
    processor_ms: cpu,
    best_tokens_per_s: (tokens / best) * 1000,
  };
  console.log(
    what,
    Object.fromEntries(Object.entries(row).map(([name, x]) => [name, Number(x.toPrecision(4))])),
  );
};

// A tiny model spends a good part of its step in JavaScript, which V8 takes a second or two to compile.
const trainOnce = () => {
  const model = initModel(config, key(1));
  const state = initAdamw(model.params);
  const time = config.contextLength;
  const sequences = toSequences({
    ids: integers(key(2), batch * time, config.vocabSize),
    segments: new Int32Array(batch * time).fill(1),
    positions: Int32Array.from({ length: batch * time }, (_, i) => i % time),
    batch,
    time,
  });
  const loss = () => tf.neg(tf.mean(nextTokenLogProbs(model, sequences).logProbs)) as tf.Scalar;
  return () => trainStep({ params: model.params, state, losses: [loss], learningRate: 3e-4 });
};

const profile = async () => {
  const spent = new Map<string, { calls: number; ms: number }>();
  const backendName = tf.getBackend();
  for (const { kernelName, kernelFunc } of tf.getKernelsForBackend(backendName)) {
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: (call) => {
        const start = performance.now();
        const result = kernelFunc(call);
        const entry = spent.get(kernelName) ?? { calls: 0, ms: 0 };
        spent.set(kernelName, { calls: entry.calls + 1, ms: entry.ms + performance.now() - start });
        return result;
      },
    });
  }
  const step = trainOnce();
  await step();
  await step();
  spent.clear();
  const timing = await measure(step, 0);
  report("training step", timing, batch * config.contextLength);
  const rows = [...spent].sort(([, a], [, b]) => b.ms - a.ms);
  console.table(
    rows.map(([kernel, { calls, ms }]) => ({
      kernel,
      calls: calls / repeats,
      ms: Number((ms / repeats).toFixed(3)),
    })),
  );
};

const products = async () => {
  const cases = [
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 1024, 256],
    [2048, 256, 1024],
    [2048, 4096, 256],
    [512, 192, 64],
    [16, 1024, 256],
    [16, 4096, 256],
  ] as const;
  for (const [m, n, k] of cases)
    for (const [name, transposeA, transposeB] of [
      ["NN", false, false],
      ["NT", false, true],
      ["TN", true, false],
    ] as const) {
      const a = tf.randomUniform(transposeA ? [k, m] : [m, k]);
      const b = tf.randomUniform(transposeB ? [n, k] : [k, n]);
      const times: number[] = [];
      for (let i = 0; i < 30; i++) {
        const start = performance.now();
        tf.matMul(a, b, transposeA, transposeB).dispose();
        times.push(performance.now() - start);
      }
      const best = Math.min(...times);
      console.log(`${m}×${n}×${k} ${name}: ${((2 * m * n * k) / best / 1e6).toFixed(1)} GFLOP/s`);
      tf.dispose([a, b]);
    }
};

const sampleOnce = () => {
  const model = initModel(config, key(1));
  const prompts = Array.from({ length: 16 }, (_, i) => [i]);
  // −1 never comes: every response is as long as it may be.
  return () =>
    generate(model, { prompts, maxNewTokens: 64, eos: -1, temperature: 1, key: key(3), slots: 16 });
};

if (command === "train")
  report(
    "training step",
    await measure(trainOnce(), sizeName === "tiny" ? 200 : 2),
    batch * config.contextLength,
  );
else if (command === "sample") report("16 × 64 tokens", await measure(sampleOnce(), 2), 16 * 64);
else if (command === "profile") await profile();
else await products();
