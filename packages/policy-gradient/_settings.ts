import { Count, CountOrZero, NonNegative, Positive, setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

/** Settings that every method has. Rollout and batch settings mean what they mean in PPO, so that the methods can be compared. */
export const commonSettings = {
  iterations: setting(Count, 500, "Rounds of rollout and update. InstructGPT: 256k episodes, 512 a round"),
  batchSize: setting(Count, 512, "Episodes per iteration, over all prompts. InstructGPT: 512"),
  microBatchSize: setting(Count, 64, "Episodes per forward pass; limits memory, does not change the result"),
  maxNewTokens: setting(Count, 32, "Longest response, end of sequence included. A length for short answers"),
  temperature: setting(Positive, 1, "Divides the logits in sampling and in every log-probability"),
  missingEosPenalty: setting(
    NonNegative,
    1,
    "Taken off the score of a response that did not end. TRL's examples: 1",
  ),
  learningRate: setting(Positive, 1e-6, "η. DeepSeekMath and TRL: 1e-6"),
  warmupIterations: setting(CountOrZero, 10, "η rises from a tenth over these, then stays. InstructGPT: 10"),
  maxGradNorm: setting(Positive, 1, "Limit on the global gradient norm. TRL: 1"),
  klBudget: Schema.optionalKey(
    Positive.annotate({ description: "Stop once the KL to the reference reaches this, in nats a sequence" }),
  ),
  sampleEvery: setting(Count, 10, "Iterations between tables of sample responses"),
  samples: setting(Count, 4, "Rows of such a table"),
};

/** Settings of the methods whose loss allows several updates on the same episodes. */
export const minibatchSettings = {
  minibatchSize: setting(Count, 64, "Episodes per optimizer step, divides batchSize. InstructGPT: 64"),
  epochs: setting(Count, 1, "Passes over an iteration's episodes, each in a fresh order"),
  clipRange: setting(Positive, 0.2, "ε of the clipped surrogate. PPO: 0.2"),
};

/** What `groupSize` must be for a method that compares the responses to one prompt. */
export const GroupSize = Schema.Int.check(Schema.isGreaterThanOrEqualTo(2));

/** Sizes that must divide batchSize, named. */
export const dividesBatch = <S extends "groupSize" | "minibatchSize">(...sizes: ReadonlyArray<S>) =>
  Schema.makeFilter((config: { readonly batchSize: number } & Readonly<Record<S, number>>) => {
    const wrong = sizes.filter((size) => config.batchSize % config[size] !== 0);
    return (
      wrong.length === 0 ||
      `${wrong.join(" and ")} must divide batchSize (${config.batchSize}), got ${wrong.map((size) => config[size]).join(" and ")}`
    );
  });
