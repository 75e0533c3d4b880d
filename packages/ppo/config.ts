import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";

const Count = Schema.Int.check(Schema.isGreaterThan(0));
const CountOrZero = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0));
const Positive = Schema.Finite.check(Schema.isGreaterThan(0));
const PositiveOrZero = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0));
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }));

const setting = <
  S extends typeof Count | typeof CountOrZero | typeof Positive | typeof PositiveOrZero | typeof Share,
>(
  schema: S,
  value: number,
  description: string,
) =>
  schema.pipe(
    Schema.annotate({ description }),
    Schema.withDecodingDefaultKey(Effect.succeed(value)),
    Schema.withConstructorDefault(Effect.succeed(value)),
  );

/** How the KL coefficient β moves; the fields are those of `KlController` in `@rlhf/kl`. */
const KlControl = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Fixed"), coefficient: PositiveOrZero }),
  Schema.Struct({
    _tag: Schema.Literal("Adaptive"),
    coefficient: Positive,
    target: Positive,
    horizon: Positive,
  }),
]);
const instructGptKl = { _tag: "Fixed", coefficient: 0.02 } as const;

/** Settings of PPO. Defaults are InstructGPT's (Ouyang et al. 2022, arXiv:2203.02155, appendix C.4) where it states them. */
export const PpoConfig = Schema.Struct({
  eos: CountOrZero.pipe(Schema.annotate({ description: "End-of-sequence token" })),
  pad: CountOrZero.pipe(Schema.annotate({ description: "Padding token; never the end-of-sequence token" })),
  maxNewTokens: Count.pipe(
    Schema.annotate({ description: "Longest response in tokens, end of sequence included" }),
  ),
  iterations: setting(Count, 500, "Rollout-and-update rounds. InstructGPT: 256k episodes of 512 a round"),
  batchSize: setting(Count, 512, "Episodes per iteration. InstructGPT: 512"),
  minibatchSize: setting(Count, 64, "Episodes per optimizer step. InstructGPT: 64"),
  microBatchSize: setting(Count, 64, "Episodes per forward pass; limits memory, does not change the result"),
  epochs: setting(Count, 1, "Passes over an iteration's episodes, each in a fresh order. InstructGPT: 1"),
  temperature: setting(
    Positive,
    1,
    "Logits are divided by it in sampling and in every log-probability. InstructGPT: 1",
  ),
  policyLearningRate: setting(
    Positive,
    5e-6,
    "η of the policy. lm-human-preferences: 5e-6; InstructGPT does not state its own",
  ),
  criticLearningRate: setting(Positive, 9e-6, "η of the value network. InstructGPT: 9e-6"),
  warmupIterations: setting(
    CountOrZero,
    10,
    "Iterations over which both rates rise from a tenth, then constant. InstructGPT: 10",
  ),
  maxGradNorm: setting(Positive, 1, "Limit on the global gradient norm of either network. TRL: 1"),
  emaDecay: setting(
    Share,
    0.992,
    "Decay d of the average of the policy's weights, once an iteration. InstructGPT: 0.992",
  ),
  gamma: setting(Share, 1, "Discount γ. InstructGPT: 1"),
  lambda: setting(Share, 0.95, "λ of generalized advantage estimation. lm-human-preferences: 0.95"),
  clipRange: setting(Positive, 0.2, "ε of the clipped surrogate. InstructGPT: 0.2"),
  valueClipRange: setting(
    Positive,
    0.2,
    "ε of the clipped value loss, in units of the score. lm-human-preferences: 0.2",
  ),
  whitenRewards: Schema.Boolean.pipe(
    Schema.annotate({ description: "Scale rewards to unit variance over the batch, mean kept. TRL: no" }),
    Schema.withDecodingDefaultKey(Effect.succeed(false)),
    Schema.withConstructorDefault(Effect.succeed(false)),
  ),
  missingEosPenalty: setting(
    PositiveOrZero,
    1,
    "Taken off the score of a response that did not end. TRL's examples: 1",
  ),
  klControl: KlControl.pipe(
    Schema.annotate({
      description: "β, the coefficient of the KL penalty, and how it moves. InstructGPT: fixed, 0.02",
    }),
    Schema.withDecodingDefaultKey(Effect.succeed(instructGptKl)),
    Schema.withConstructorDefault(Effect.succeed(instructGptKl)),
  ),
  klBudget: Schema.optionalKey(
    Positive.pipe(
      Schema.annotate({
        description: "Stop at the first iteration whose KL to the reference reaches this, nats a sequence",
      }),
    ),
  ),
  ptxCoefficient: setting(
    PositiveOrZero,
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
    ({ eos, pad }) => eos !== pad || `pad must be a token of its own, got eos ${eos} for both`,
  ),
  Schema.makeFilter(
    ({ batchSize, minibatchSize }) =>
      batchSize % minibatchSize === 0 ||
      `minibatchSize must divide batchSize (${batchSize}), got ${minibatchSize}`,
  ),
);
export type PpoConfig = typeof PpoConfig.Type;
