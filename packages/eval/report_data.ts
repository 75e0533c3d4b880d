import * as Schema from "effect/Schema";
import { Interval } from "./interval.ts";

const described = <S extends Schema.Top>(schema: S, description: string) =>
  schema.pipe(Schema.annotateKey({ description })) as S;
const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema).pipe(Schema.annotateKey({ description })) as Schema.optionalKey<S>;

/** One line of `metrics.jsonl`: `stage`, `step` and any number of metrics. What is not a finite number is not drawn. */
export const MetricRow = Schema.StructWithRest(
  Schema.Struct({
    stage: described(Schema.String, 'Which run: "pretrain", "sft", "reward", "ppo", "ppo-ptx", …'),
    step: described(Schema.Number, "Optimizer step, or iteration for reinforcement learning"),
  }),
  [Schema.Record(Schema.String, Schema.Unknown)],
);
export type MetricRow = typeof MetricRow.Type;

/** One model against one baseline. */
export const WinRateRow = Schema.Struct({
  model: described(Schema.String, "The model under test"),
  baseline: described(Schema.String, "The model it is measured against"),
  judge: described(Schema.String, 'Who judged: "simulated held-out labellers", …'),
  rate: described(Interval, "Share of comparisons won, ties half, in [0, 1]"),
  lengthControlled: optional(Interval, "The same at equal length, in [0, 1]"),
  comparisons: described(Schema.Int, "Pairs judged, each in both orders"),
  consistency: optional(Schema.Number, "Share of pairs whose verdict did not change with the order"),
});
export type WinRateRow = typeof WinRateRow.Type;

/** How far one run moved from its initial policy, and what it gained. */
export const FrontierRun = Schema.Struct({
  run: described(Schema.String, 'The run: "ppo", "ppo-ptx", "best-of-n", …'),
  form: optional(
    Schema.Literals(["reinforcement", "bestOfN"]),
    "Which curve is fitted (Gao et al. 2022); reinforcement unless given",
  ),
  points: Schema.Array(
    Schema.Struct({
      kl: described(Schema.Number, "KL to the initial policy, nats per response"),
      learned: optional(Schema.Number, "Learned reward gained over the initial policy"),
      gold: optional(Schema.Number, "Gold reward gained over the initial policy"),
    }),
  ),
});
export type FrontierRun = typeof FrontierRun.Type;

export const RewardModelReport = Schema.Struct({
  accuracy: described(Interval, "Share of validation pairs ordered as the training labellers did"),
  heldOutAccuracy: optional(Interval, "The same against labellers whose rankings were not trained on"),
  labelerAgreement: optional(Interval, "How often two training labellers agree on a pair"),
  heldOutAgreement: optional(Interval, "How often two held-out labellers agree on a pair"),
  calibration: optional(
    Schema.Array(Schema.Struct({ predicted: Schema.Number, observed: Schema.Number, pairs: Schema.Int })),
    "Bins of validation pairs: mean predicted probability of the higher score, share in which it was preferred",
  ),
});
export type RewardModelReport = typeof RewardModelReport.Type;

export const AlignmentTaxReport = Schema.Struct({
  corpus: described(Schema.String, "The held-out text"),
  rows: Schema.Array(
    Schema.Struct({
      model: Schema.String,
      crossEntropy: described(Schema.Number, "Nats per token"),
      perplexity: Schema.Number,
      tax: described(Interval, "Cross-entropy above the base model's, nats per token"),
    }),
  ),
});
export type AlignmentTaxReport = typeof AlignmentTaxReport.Type;

/** Share of a model's responses that fulfil a criterion. */
export const RateRow = Schema.Struct({
  model: Schema.String,
  criterion: described(Schema.String, '"instruction followed", "well-formed", "truthful", "toxic", …'),
  value: Schema.Number,
  low: Schema.Number,
  high: Schema.Number,
  count: described(Schema.Int, "Responses judged"),
});
export type RateRow = typeof RateRow.Type;

/** The answers of several models to one prompt. */
export const Sample = Schema.Struct({
  prompt: Schema.String,
  answers: Schema.Array(
    Schema.Struct({
      model: Schema.String,
      text: Schema.String,
      scores: optional(Schema.Record(Schema.String, Schema.Number), "{ reward: 1.2, gold: 0.4 }"),
    }),
  ),
});
export type Sample = typeof Sample.Type;

const TableRow = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Number]));

/** A table of any other measure: one record a row, columns in the order of the first row. */
export const Table = Schema.Struct({
  title: Schema.String,
  note: optional(Schema.String, "One sentence: how it was measured, in which unit"),
  rows: Schema.Array(TableRow),
});
export type Table = typeof Table.Type;

export const LabelersReport = Schema.Struct({
  simulated: described(Schema.Boolean, "Programs rather than people; every mention then says so"),
  description: described(Schema.String, "Who they are and how they decide"),
  agreement: optional(Interval, "How often two training labellers agree on a pair"),
  heldOutAgreement: optional(Interval, "How often two held-out labellers agree on a pair"),
  rows: optional(Schema.Array(TableRow), "One record per labeller"),
});
export type LabelersReport = typeof LabelersReport.Type;

/** All that the report shows. Sections without data are left out and named under "Not evaluated". */
export const ReportData = Schema.Struct({
  title: Schema.String,
  subtitle: optional(Schema.String, "One sentence: what was trained, how large, on what"),
  headline: optional(Schema.String, "The main result in one sentence; made from the win rates unless given"),
  date: optional(Schema.String, "When the run finished, as it is to be printed"),
  metrics: optional(Schema.Array(MetricRow), "All of metrics.jsonl; long runs are thinned for drawing"),
  winRates: optional(Schema.Array(WinRateRow), "The most important comparison first"),
  frontier: optional(Schema.Array(FrontierRun), "Reward against KL"),
  rewardModel: optional(RewardModelReport, "How well the learned reward predicts the labellers"),
  rates: optional(Schema.Array(RateRow), "Shares of responses by criterion"),
  alignmentTax: optional(Schema.Array(AlignmentTaxReport), "One table per corpus"),
  samples: optional(
    Schema.Array(Sample),
    "Answers side by side, in the order of the evaluation set; the first ones are shown",
  ),
  labelers: optional(LabelersReport, "Who ranked the answers"),
  tables: optional(Schema.Array(Table), "Other measures: sentiment, diversity, …"),
  notes: optional(Schema.Array(Schema.String), "Findings, failures and caveats a reader should know"),
  configuration: optional(
    Schema.Record(Schema.String, Schema.Unknown),
    "The decoded configuration, one entry per stage",
  ),
  versions: optional(
    Schema.Record(Schema.String, Schema.String),
    "Packages, Node, backend, seed, data hashes",
  ),
  notEvaluated: optional(
    Schema.Array(Schema.Struct({ what: Schema.String, why: Schema.String })),
    "What was left out, and why",
  ),
});
export type ReportData = typeof ReportData.Type;
