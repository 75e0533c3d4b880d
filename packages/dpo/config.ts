import { Count, NonNegative, Positive, Share, setting } from "@rlhf/core/setting";
import * as Schema from "effect/Schema";

const FlipRate = Share.check(Schema.isLessThan(0.5));

/** Which loss is taken, with its own settings. */
export const PreferenceLoss = Schema.Union([
  Schema.TaggedStruct("Dpo", {
    beta: setting(Positive, 0.1, "β. Rafailov et al. 2023: 0.1"),
    labelSmoothing: setting(
      FlipRate,
      0,
      "ε, the share of labels that are wrong; above 0 is conservative DPO",
    ),
  }),
  Schema.TaggedStruct("RobustDpo", {
    beta: setting(Positive, 0.1, "β. Rafailov et al. 2023: 0.1"),
    flipRate: setting(FlipRate, 0.1, "ε, the share of labels that are wrong. Chowdhury et al. 2024: 0.1"),
  }),
  Schema.TaggedStruct("Ipo", { tau: setting(Positive, 0.1, "τ. TRL: 0.1") }),
  Schema.TaggedStruct("Kto", {
    beta: setting(Positive, 0.1, "β. Ethayarajh et al. 2024: 0.1"),
    desirableWeight: setting(Positive, 1, "λ_D, weight of desirable responses. Ethayarajh et al.: 1"),
    undesirableWeight: setting(Positive, 1, "λ_U, weight of undesirable responses. Ethayarajh et al.: 1"),
  }),
  Schema.TaggedStruct("Orpo", { lambda: setting(NonNegative, 0.1, "λ. Hong et al. 2024: 0.1") }),
  Schema.TaggedStruct("Simpo", {
    beta: setting(Positive, 2, "β. Meng et al. 2024: 2 to 2.5"),
    gamma: setting(NonNegative, 1, "γ, the margin. Meng et al.: 0.5 to 1.6"),
  }),
]);
export type PreferenceLoss = typeof PreferenceLoss.Type;

const lossSettings = {
  loss: setting(PreferenceLoss, { _tag: "Dpo", beta: 0.1, labelSmoothing: 0 }, "The loss and its settings"),
  maxGradNorm: setting(Positive, 1, "Limit on the global gradient norm. TRL: 1"),
};

/** Settings of training on rankings that are given. */
export const DpoConfig = Schema.Struct({
  ...lossSettings,
  epochs: setting(Count, 1, "Passes over the rankings"),
  batchSize: setting(Count, 64, "Prompts per optimizer step. Rafailov et al. 2023: 64"),
  microBatchSize: setting(Count, 8, "Prompts per forward pass; limits memory, does not change the result"),
  learningRate: setting(Positive, 1e-6, "Peak learning rate η. Rafailov et al. 2023: 1e-6"),
  warmupShare: setting(
    Share,
    0.1,
    "Share of the steps over which η rises; then a cosine to 0. Zephyr (arXiv:2310.16944): 0.1",
  ),
});
export type DpoConfig = typeof DpoConfig.Type;

/** Settings of training on fresh samples. Rollout and batch settings mean what they mean in PPO, so that the two can be compared. */
export const OnlineDpoConfig = Schema.Struct({
  ...lossSettings,
  iterations: setting(Count, 500, "Rounds of rollout and update. InstructGPT: 256k episodes, 512 a round"),
  batchSize: setting(Count, 512, "Episodes per iteration, over all prompts. InstructGPT: 512"),
  responsesPerPrompt: setting(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)),
    2,
    "Compared with each other, divides batchSize. Guo et al. 2024: 2",
  ),
  minibatchSize: setting(Count, 64, "Prompts per optimizer step"),
  microBatchSize: setting(Count, 32, "Prompts per forward pass; limits memory, does not change the result"),
  maxNewTokens: setting(Count, 32, "Longest response, end of sequence included. A length for short answers"),
  temperature: setting(Positive, 1, "Divides the logits in sampling and in every log-probability"),
  missingEosPenalty: setting(
    NonNegative,
    1,
    "Taken off the score of a response that did not end. TRL's examples: 1",
  ),
  learningRate: setting(Positive, 5e-7, "η. Guo et al. 2024: 5e-7"),
  warmupIterations: setting(Count, 10, "η rises from a tenth over these, then stays. InstructGPT: 10"),
  klBudget: Schema.optionalKey(
    Positive.annotate({ description: "Stop once the KL to the reference reaches this, in nats a sequence" }),
  ),
  sampleEvery: setting(Count, 10, "Iterations between tables of sample responses"),
  samples: setting(Count, 4, "Rows of such a table"),
}).check(
  Schema.makeFilter(
    ({ batchSize, responsesPerPrompt }) =>
      batchSize % responsesPerPrompt === 0 ||
      `responsesPerPrompt must divide batchSize (${batchSize}), got ${responsesPerPrompt}`,
  ),
);
export type OnlineDpoConfig = typeof OnlineDpoConfig.Type;
