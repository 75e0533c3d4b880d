import { Count, CountOrZero, NonNegative, Positive, Share, setting } from "@rlhf/core/setting";
import { KlControl } from "@rlhf/policy-gradient/kl_control";
import * as Schema from "effect/Schema";

export { KlControl };

/** Settings of PPO. Defaults are InstructGPT's (Ouyang et al. 2022, arXiv:2203.02155, appendix C.4) where it states them. */
export const PpoConfig = Schema.Struct({
  iterations: setting(Count, 500, "Rounds of rollout and update. InstructGPT: 256k episodes, 512 a round"),
  batchSize: setting(Count, 512, "Episodes per iteration. InstructGPT: 512"),
  minibatchSize: setting(Count, 64, "Episodes per optimizer step, divides batchSize. InstructGPT: 64"),
  microBatchSize: setting(Count, 64, "Episodes per forward pass; limits memory, does not change the result"),
  epochs: setting(Count, 1, "Passes over an iteration's episodes, each in a fresh order. InstructGPT: 1"),
  maxNewTokens: setting(Count, 32, "Longest response, end of sequence included. A length for short answers"),
  temperature: setting(
    Positive,
    1,
    "Divides the logits in sampling and in every log-probability. InstructGPT: 1",
  ),
  missingEosPenalty: setting(
    NonNegative,
    1,
    "Taken off the score of a response that did not end. TRL's examples: 1",
  ),
  policyLearningRate: setting(
    Positive,
    5e-6,
    "η of the policy. lm-human-preferences: 5e-6. InstructGPT E.9 tried 2.55e-6 to 2.55e-5",
  ),
  criticLearningRate: setting(Positive, 9e-6, "η of the value network. InstructGPT: 9e-6"),
  warmupIterations: setting(
    CountOrZero,
    10,
    "Both rates rise from a tenth over these, then stay. InstructGPT: 10",
  ),
  maxGradNorm: setting(Positive, 1, "Limit on the global gradient norm of either network. TRL: 1"),
  emaDecay: setting(
    Share,
    0.992,
    "Decay of the average of the policy's weights, per iteration. InstructGPT: 0.992",
  ),
  gamma: setting(Share, 1, "Discount γ. InstructGPT: 1"),
  lambda: setting(Share, 0.95, "λ of generalized advantage estimation. lm-human-preferences: 0.95"),
  clipRange: setting(Positive, 0.2, "ε of the clipped surrogate. InstructGPT: 0.2"),
  valueClipRange: setting(
    Positive,
    0.2,
    "ε of the value loss, in units of the score. lm-human-preferences: 0.2",
  ),
  whitenRewards: setting(
    Schema.Boolean,
    false,
    "Scale rewards to unit variance, keep their mean. TRL: false",
  ),
  klControl: setting(
    KlControl,
    { _tag: "Fixed", coefficient: 0.02 },
    "β of the KL penalty and how it moves. InstructGPT: fixed, 0.02",
  ),
  klBudget: Schema.optionalKey(
    Positive.annotate({ description: "Stop once the KL to the reference reaches this, in nats a sequence" }),
  ),
  ptxCoefficient: setting(
    NonNegative,
    0,
    "γ_ptx of the pretraining loss, a mean over its tokens; 0 is plain PPO. InstructGPT: 27.8, normalization not stated",
  ),
  ptxExamplesPerEpisode: setting(
    Count,
    8,
    "Pretraining rows for each episode of a minibatch. InstructGPT: 8",
  ),
  sampleEvery: setting(Count, 10, "Iterations between tables of sample responses"),
  samples: setting(Count, 4, "Rows of such a table"),
}).check(
  Schema.makeFilter(
    ({ batchSize, minibatchSize }) =>
      batchSize % minibatchSize === 0 || {
        path: ["minibatchSize"],
        issue: `must divide batchSize, which is ${batchSize}`,
      },
  ),
);
export type PpoConfig = typeof PpoConfig.Type;

/** The name of the stage in progress and metrics: a run with pretraining gradients is told from one without. */
export function stageName({ ptxCoefficient }: Pick<PpoConfig, "ptxCoefficient">): "ppo" | "ppo-ptx" {
  return ptxCoefficient > 0 ? "ppo-ptx" : "ppo";
}
