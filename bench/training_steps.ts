/**
 * The first steps of every stage on one backend, small and with a fixed seed. `tensorflow.ts` runs this file in a
 * process of its own for each backend, since importing tfjs-node changes kernels and gradients of the whole process.
 */
import { Progress, type ProgressEvent } from "@rlhf/core/progress";
import { integers, key } from "@rlhf/core/random";
import type { EncodedDemonstration, EncodedPrompt, EncodedRanking } from "@rlhf/core/records";
import { RunFolder } from "@rlhf/core/run_folder";
import * as ppo from "@rlhf/ppo";
import { PretrainConfig, pretrain, pretrainMasked } from "@rlhf/pretrain";
import { RewardConfig, scoreEpisodes, trainReward } from "@rlhf/reward";
import { finetune, SftConfig } from "@rlhf/sft";
import { type BackendName, BackendUnavailable, useBackend } from "@rlhf/tensor/backend";
import { initModel } from "@rlhf/transformer";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";

/** What an optimizer step minimised, and the global norm of its gradient. */
export interface TrainingStep {
  readonly stage: string;
  readonly step: number;
  readonly loss: number;
  readonly gradNorm: number;
}

/** What the process sends: the steps, or why the backend is not to be had. */
export type Outcome = { readonly steps: ReadonlyArray<TrainingStep> } | { readonly unavailable: string };

const steps = 5;
const [eos, mask, vocabSize, contextLength] = [0, 1, 32, 16];
const shape = { vocabSize, contextLength, layers: 2, width: 32, heads: 4 } as const;
const learningRate = 3e-3;

const words = (seed: number, count: number) =>
  Array.from(integers(key(seed), count, vocabSize - 2), (word) => word + 2);
const examples = <T>(example: (index: number) => T) => Array.from({ length: 16 }, (_, i) => example(i));

const text = Int32Array.from(words(1, 16 * contextLength));
const sequences = examples((i) => words(100 + i, 8 + (i % 8)));
const prompts = examples((i): EncodedPrompt => ({ id: `${i}`, tokens: words(200 + i, 2 + (i % 4)) }));
const demonstrations = prompts.map(
  ({ tokens: prompt }, i): EncodedDemonstration => ({
    prompt,
    response: [...words(300 + i, 2 + (i % 3)), eos],
  }),
);
const rankings = prompts.map(
  ({ tokens: prompt }, i): EncodedRanking => ({
    prompt,
    responses: [0, 1, 2].map((j) => [...words(400 + 3 * i + j, 3 + j), eos]),
    ranks: [1, 2, 3],
  }),
);

/** Pretraining to PPO with ptx, each stage on what the one before has trained. */
const pipeline = Effect.gen(function* () {
  const pretraining = PretrainConfig.make({ steps, batchSize: 8, warmupSteps: 0, learningRate });
  const model = initModel({ architecture: "gpt2", ...shape }, key(2));
  yield* pretrain({ model, tokens: text, validation: text, config: pretraining, key: key(3) });
  yield* pretrainMasked({
    model: initModel({ architecture: "masked-lm", ...shape }, key(4)),
    sequences,
    validation: sequences,
    mask,
    config: pretraining,
    key: key(5),
  });
  yield* finetune({
    model,
    demonstrations,
    validation: demonstrations,
    config: SftConfig.make({ epochs: steps, batchSize: demonstrations.length, learningRate }),
    key: key(6),
  });
  const { model: rewardModel } = yield* trainReward({
    policy: model,
    rankings,
    validation: rankings,
    demonstrations,
    config: RewardConfig.make({ epochs: steps, batchSize: rankings.length, learningRate }),
    key: key(7),
  });
  const config = ppo.PpoConfig.make({
    iterations: steps,
    batchSize: 16,
    minibatchSize: 16, // one optimizer step an iteration
    maxNewTokens: 6,
    policyLearningRate: learningRate,
    criticLearningRate: learningRate,
    ptxCoefficient: 1,
    ptxExamplesPerEpisode: 1,
  });
  yield* ppo
    .train({
      state: ppo.initState({ policy: model, rewardModel, config }),
      prompts,
      config,
      specials: { eos },
      key: key(8),
      decode: (tokens) => tokens.join(" "),
    })
    .pipe(
      Effect.provideService(ppo.Reference, model),
      Effect.provideService(ppo.Scorer, scoreEpisodes(rewardModel)),
      Effect.provideService(
        ppo.PretrainingBatches,
        ppo.PretrainingBatches.fromRows(
          sequences.map((tokens) => ({ tokens })),
          { padId: 0 },
        ),
      ),
    );
});

/** PPO takes two optimizer steps at a time: the policy's, on surrogate plus pretraining loss, and the critic's. */
function trainingSteps(event: ProgressEvent): ReadonlyArray<TrainingStep> {
  if (event._tag !== "Step") return [];
  const { stage, step, metrics } = event;
  if (stage !== "ppo-ptx") return [{ stage, step, loss: metrics.loss!, gradNorm: metrics.gradNorm! }];
  return [
    {
      stage: `${stage}, policy`,
      step,
      loss: metrics.policyLoss! + metrics.ptxLoss!,
      gradNorm: metrics.gradNorm!,
    },
    { stage: `${stage}, critic`, step, loss: metrics.valueLoss!, gradNorm: metrics.valueGradNorm! },
  ];
}

async function run(backend: BackendName): Promise<Outcome> {
  try {
    await useBackend(backend);
  } catch (error) {
    if (error instanceof BackendUnavailable) return { unavailable: error.message };
    throw error;
  }
  const taken: Array<TrainingStep> = [];
  const watcher = Layer.succeed(Progress, {
    publish: (event) => Effect.sync(() => void taken.push(...trainingSteps(event))),
    events: Stream.empty,
  });
  await Effect.runPromise(Effect.provide(pipeline, Layer.merge(watcher, RunFolder.layerMemory)));
  return { steps: taken };
}

try {
  process.send!(await run(process.argv[2] as BackendName));
} catch (error) {
  console.error(error); // Uncaught, it would have wasm's handler print its whole source.
  process.exitCode = 1;
}
