/**
 * What a stage of training takes of memory, beside what `stageMemory` of `@rlhf/transformer` foretells. Every stage runs for
 * a few steps in a process of its own, with the native backend; Linux only.
 *
 *     npx tsx bench/memory.ts
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fold, integers, key, Progress, RunFolder } from "@rlhf/core";
import * as ppo from "@rlhf/ppo";
import { PretrainConfig, pretrain } from "@rlhf/pretrain";
import { RewardConfig, scoreEpisodes, trainReward } from "@rlhf/reward";
import { finetune, SftConfig } from "@rlhf/sft";
import { useBackend } from "@rlhf/tensor/backend";
import { initModel, initScalarModel, type StageShape, stageMemory } from "@rlhf/transformer";
import { Effect, Layer } from "effect";

const vocabSize = 8192;
const sizes = {
  small: { layers: 2, width: 128, heads: 4, contextLength: 64 },
  medium: { layers: 4, width: 512, heads: 8, contextLength: 128 },
};
const batchSize = 16;
const root = key(1);

const [, script, size, stage] = process.argv;
if (size === undefined) {
  console.log(
    "| model | stage | process before | estimate | measured peak | error |\n| --- | --- | --- | --- | --- | --- |",
  );
  for (const one of Object.keys(sizes)) {
    for (const other of ["pretrain", "sft", "reward", "ppo-ptx"]) {
      const output = execFileSync(process.execPath, ["--import", "tsx", script!, one, other], {
        encoding: "utf8",
      });
      console.log(output.trim().split("\n").at(-1));
    }
  }
} else {
  await measure(size as keyof typeof sizes, stage!);
}

async function measure(size: keyof typeof sizes, stage: string): Promise<void> {
  await useBackend("native");
  const config = { architecture: "gpt2", vocabSize, ...sizes[size] } as const;
  const { shape, run } = prepare(config, stage);
  const before = memory("VmRSS");
  writeFileSync("/proc/self/clear_refs", "5"); // the peak counts from here
  await Effect.runPromise(run.pipe(Effect.provide(Layer.merge(Progress.layerSilent, RunFolder.layerMemory))));
  const peak = memory("VmHWM");
  const estimate = before + stageMemory({ config, ...shape }).total;
  const cells = [before, estimate, peak].map((bytes) => `${(bytes / 1e6).toFixed(0)} MB`);
  const { layers, width, contextLength } = config;
  const model = `${layers} × ${width}, context ${contextLength}`;
  console.log(`| ${[model, stage, ...cells, `${(100 * (estimate / peak - 1)).toFixed(0)} %`].join(" | ")} |`);
}

function memory(field: "VmRSS" | "VmHWM"): number {
  const [, kilobytes] = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"))!;
  return 1024 * Number(kilobytes);
}

type Prepared = {
  readonly shape: Omit<StageShape, "config">;
  readonly run: Effect.Effect<unknown, unknown, Progress | RunFolder>;
};

function prepare(config: Parameters<typeof initModel>[0], stage: string): Prepared {
  const length = config.contextLength;
  const [half, quarter] = [length / 2, length / 4];
  const text = integers(fold(root, "text"), 20_000, vocabSize - 4).map((id) => id + 4);
  const words = (from: number, count: number) => Array.from(text.subarray(37 * from, 37 * from + count));
  const demonstrations = Array.from({ length: 6 * batchSize }, (_, i) => {
    return { prompt: words(i, quarter), response: [...words(i + 7, quarter - 1), 1] };
  });
  const model = () => initModel(config, root);
  const sizesOf = { batchSize, microBatchSize: batchSize };
  switch (stage) {
    case "pretrain":
      return {
        shape: {
          trained: 1,
          held: 0,
          passes: [{ tokens: batchSize * length, predictions: batchSize * length }],
          accumulates: false,
        },
        run: Effect.suspend(() => {
          const settings = PretrainConfig.make({ ...sizesOf, steps: 6, warmupSteps: 1, evaluateEvery: 3 });
          const validation = text.subarray(0, batchSize * length);
          return pretrain({ model: model(), tokens: text, validation, config: settings, key: root });
        }),
      };
    case "sft":
      return {
        shape: {
          trained: 1,
          held: 1, // the weights of the best epoch
          passes: [{ tokens: batchSize * half, predictions: batchSize * half, dropout: true }], // two to a row
          accumulates: false,
        },
        run: Effect.suspend(() => {
          const settings = SftConfig.make({ ...sizesOf, epochs: 1, dropout: 0.1 });
          const validation = demonstrations.slice(0, batchSize);
          return finetune({ model: model(), demonstrations, validation, config: settings, key: root });
        }),
      };
    case "reward": {
      const answers = 6;
      const rankings = Array.from({ length: 4 * batchSize }, (_, i) => ({
        prompt: words(i, quarter),
        responses: Array.from({ length: answers }, (_, j) => [...words(i + j, quarter - 1), 1]),
        ranks: Array.from({ length: answers }, (_, j) => j + 1),
      }));
      return {
        shape: {
          trained: 1,
          held: 1, // the policy
          passes: [
            { tokens: batchSize * answers * half, predictions: 0 },
            { tokens: 32 * half, predictions: 0, forwardOnly: true },
          ],
          accumulates: false,
        },
        run: Effect.suspend(() => {
          const settings = RewardConfig.make({ ...sizesOf, epochs: 1 });
          const validation = rankings.slice(0, 8);
          return trainReward({
            policy: model(),
            rankings,
            validation,
            demonstrations,
            config: settings,
            key: root,
          });
        }),
      };
    }
    default: {
      const settings = ppo.PpoConfig.make({
        iterations: 2,
        batchSize: 4 * batchSize,
        minibatchSize: 2 * batchSize,
        microBatchSize: 2 * batchSize,
        maxNewTokens: quarter,
        ptxCoefficient: 1,
        ptxExamplesPerEpisode: 1,
      });
      const prompts = Array.from({ length: 64 }, (_, i) => ({ id: `${i}`, tokens: words(i, quarter) }));
      const pretraining = Array.from({ length: 64 }, (_, i) => ({ tokens: words(i, length) }));
      return {
        shape: {
          trained: 2,
          held: 3, // average, reference, reward model
          passes: [
            { tokens: 2 * batchSize * length, predictions: 2 * batchSize * length },
            { tokens: 2 * batchSize * half, predictions: 2 * batchSize * quarter },
          ],
          accumulates: true,
          sampling: { slots: 32, length: half },
        },
        run: Effect.gen(function* () {
          const policy = model();
          const rewardModel = initScalarModel(model(), root);
          yield* ppo
            .train({
              state: ppo.initState({ policy, rewardModel, config: settings }),
              prompts,
              config: settings,
              specials: { eos: 1 },
              key: root,
              decode: String,
            })
            .pipe(
              Effect.provideService(ppo.Reference, policy),
              Effect.provideService(ppo.Scorer, scoreEpisodes(rewardModel)),
              Effect.provideService(
                ppo.PretrainingBatches,
                ppo.PretrainingBatches.fromRows(pretraining, { padId: 0 }),
              ),
            );
        }),
      };
    }
  }
}
