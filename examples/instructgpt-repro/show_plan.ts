import { fold, InvalidInput, key, Progress } from "@rlhf/core";
import { shareInWords, speeds, type TensorMemory, tensorMemory } from "@rlhf/doctor";
import { parameterCount } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import { Effect } from "effect";
import type { StagePlan } from "./plan.ts";
import type { Setting } from "./setting.ts";

/** What Node's own heap grows by while a run goes on. */
const heap = 60e6;
/** Demonstrations that tell how fast a machine is. */
const measured = 64;

/** What lies in the memory of tensors besides them, of which the plans tell: of the machine's the process takes some of its own. */
const besides = ({ of }: TensorMemory) =>
  of === "GPU" ? 0 : process.memoryUsage.rss() - tf.memory().numBytes + heap;

/** Refuses, all at once, stages that need more memory than there is where tensors lie, each with the setting to change. */
export const refuseWhatDoesNotFit = (
  plans: ReadonlyArray<StagePlan>,
  available = tensorMemory(),
): Effect.Effect<void, InvalidInput> => {
  const limit = available.bytes ?? Number.POSITIVE_INFINITY;
  const own = besides(available);
  const problems = plans.flatMap(({ stage, setting, memory }) => {
    const needed = own + memory.total;
    if (needed <= limit) return [];
    const problem = `${stage} would take ${shareInWords(needed, available)}`;
    return memory.total - memory.activations > limit / 2
      ? [
          {
            where: "--model.width",
            problem,
            remedy:
              "most of it are weights, gradients and moments: make the model smaller, or train an adapter with --lora.rank 16",
          },
        ]
      : [
          {
            where: `--${setting}`,
            problem,
            remedy: "make it smaller: the results stay the same but for rounding",
          },
        ];
  });
  return problems.length === 0 ? Effect.void : Effect.fail(new InvalidInput({ problems }));
};

/** Tells whoever watches what the run is going to do, with times from a short measurement of this model on this machine. */
export const showPlan = Effect.fn("showPlan")(function* (
  { config, encoded, tokenizer, base }: Omit<Setting, "data">,
  plans: ReadonlyArray<StagePlan>,
) {
  const { publish } = yield* Progress;
  const { eos, pad } = tokenizer.specials;
  const available = tensorMemory();
  const own = besides(available); // before the measurement, which leaves memory that training takes again
  const rows = encoded.demonstrations
    .slice(0, measured)
    .map(({ prompt, response }) => [...prompt, ...response]);
  const speed = yield* Effect.promise(() =>
    speeds(base, rows, { eos, pad, key: fold(key(config.seed), "speed") }),
  );
  const { vocabSize, width } = base.config;
  const vocabularyShare = (vocabSize * width) / parameterCount(base.config);
  const seconds = ({ trained, valued, scored, sampled }: StagePlan) =>
    (trained - valued * vocabularyShare) / speed.training + scored / speed.scoring + sampled / speed.sampling;
  const peak = own + Math.max(...plans.map(({ memory }) => memory.total));
  const total = plans.reduce((sum, plan) => sum + seconds(plan), 0);
  yield* publish({
    _tag: "Table",
    stage: "plan",
    title:
      `Plan: ${parameterCount(base.config).toLocaleString("en")} parameters, about ${Math.max(1, Math.round(total / 60))} min of training, ` +
      `at most ${shareInWords(peak, available)}`,
    rows: plans.map((plan) => ({
      stage: plan.stage,
      steps: plan.steps,
      "k tokens": Math.round((plan.trained + plan.scored + plan.sampled) / 1000),
      seconds: Math.round(seconds(plan)),
      "MB: weights": megabytes(plan.memory.weights),
      gradients: megabytes(plan.memory.gradients),
      optimizer: megabytes(plan.memory.optimizer),
      activations: megabytes(plan.memory.activations),
      cache: megabytes(plan.memory.cache),
      [available.of === "GPU" ? "GPU" : "process"]: megabytes(own + plan.memory.total),
    })),
  });
});

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}
