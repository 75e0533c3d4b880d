import type { Axis, Lines } from "./_charts.ts";
import { spellOut } from "./_format.ts";
import { type Look, labelOf, looksOf } from "./_models.ts";
import { thin } from "./_thin.ts";
import type { MetricRow } from "./report_data.ts";

/** How one metric is shown. */
interface Shown {
  readonly title: string;
  readonly unit: string;
  readonly percent?: boolean;
  readonly note?: string;
  /** Drawn in the open; the rest is folded away. */
  readonly main?: boolean;
}

const metrics: Readonly<Record<string, Shown>> = {
  score: { title: "Learned reward", unit: "score", main: true, note: "What the policy is trained to raise." },
  gold: { title: "Gold reward", unit: "score", main: true, note: "What it stands for; never trained on." },
  kl: { title: "KL to the initial policy", unit: "nats per response", main: true },
  entropy: { title: "Entropy", unit: "nats per token", main: true },
  responseLength: { title: "Response length", unit: "tokens", main: true },
  eosRate: { title: "Finished responses", unit: "% of responses", percent: true, main: true },
  clipFraction: { title: "Clip fraction", unit: "% of tokens", percent: true, main: true },
  valueLoss: { title: "Value loss", unit: "squared error", main: true },
  rlhfReward: { title: "Reward after the KL penalty", unit: "score" },
  scoreDeviation: { title: "Spread of the learned reward", unit: "standard deviation, score" },
  klCoefficient: { title: "KL coefficient β", unit: "score per nat" },
  approxKl: { title: "Approximate KL of the update", unit: "nats per token" },
  ratio: { title: "Probability ratio", unit: "new / old" },
  ratioDeviation: { title: "Largest ratio deviation", unit: "|ratio − 1|" },
  explainedVariance: { title: "Variance explained by the values", unit: "share" },
  valueClipFraction: { title: "Value clip fraction", unit: "% of tokens", percent: true },
  policyLoss: { title: "Policy loss", unit: "advantage" },
  ptxLoss: { title: "Pretraining loss", unit: "nats per token" },
  gradNorm: { title: "Gradient norm", unit: "before clipping" },
  valueGradNorm: { title: "Gradient norm of the value network", unit: "before clipping" },
  learningRate: { title: "Learning rate", unit: "per step" },
  samplingGap: { title: "Gap between sampling and training", unit: "largest |Δ log p|, nats" },
  loss: { title: "Loss", unit: "nats", main: true },
  accuracy: { title: "Accuracy", unit: "% of pairs", percent: true, main: true },
  validationLoss: { title: "Validation loss", unit: "nats", main: true },
  validationAccuracy: { title: "Validation accuracy", unit: "% of pairs", percent: true, main: true },
  validationScore: { title: "Validation score", unit: "score", main: true, note: "By the reward model." },
  validationPerplexity: { title: "Validation perplexity", unit: "tokens" },
};

/** More points than a chart has room for hide the curve in its own noise. */
const drawnPoints = 120;

const isSpeed = (metric: string) => /tokensPerSecond$/i.test(metric);

function shown(metric: string): Shown {
  if (isSpeed(metric)) {
    const phase = metric.replace(/tokensPerSecond$/i, "");
    return { title: phase === "" ? "All phases" : spellOut(phase), unit: "tokens per second" };
  }
  return metrics[metric] ?? { title: spellOut(metric), unit: "" };
}

export interface MetricChart {
  readonly title: string;
  readonly note?: string;
  readonly group: "main" | "speed" | "more";
  readonly chart: Lines;
}

export interface Curves {
  /** Names of the reinforcement-learning runs: those that report a KL. */
  readonly runs: ReadonlyArray<string>;
  /** One chart per metric of those runs, the runs overlaid. */
  readonly reinforcement: ReadonlyArray<MetricChart>;
  /** The charts of every other stage, one after the other. */
  readonly stages: ReadonlyArray<MetricChart>;
}

/**
 * Sorts the rows of `metrics.jsonl` into charts. Values that are not finite numbers are left out; where a resumed run wrote a
 * step again, the later value counts.
 */
export function curves(rows: ReadonlyArray<MetricRow>): Curves {
  const stages = new Map<string, Map<string, Map<number, number>>>();
  for (const row of rows) {
    const series = stages.get(row.stage) ?? new Map<string, Map<number, number>>();
    stages.set(row.stage, series);
    for (const [metric, value] of Object.entries(row)) {
      if (metric === "stage" || metric === "step" || typeof value !== "number" || !Number.isFinite(value))
        continue;
      const points = series.get(metric);
      if (points) points.set(row.step, value);
      else series.set(metric, new Map([[row.step, value]]));
    }
  }
  const runs = [...stages.keys()].filter((stage) => stages.get(stage)!.has("kl"));
  const others = [...stages.keys()].filter((stage) => !runs.includes(stage));
  const series = (stage: string, metric: string, looks: ReadonlyMap<string, Look>) => {
    const points = [...(stages.get(stage)!.get(metric) ?? [])];
    return {
      name: labelOf(stage),
      look: looks.get(stage)!,
      points: thin(
        points.toSorted((a, b) => a[0] - b[0]),
        drawnPoints,
      ),
    };
  };
  const overlaid = (metric: string): MetricChart => ({
    ...appearance(metric),
    chart: {
      kind: "lines",
      x: { label: "iteration" },
      y: axis(metric),
      series: runs
        .map((run) => ({ ...series(run, metric, looksOf(runs)), marks: "line" as const }))
        .filter(({ points }) => points.length > 0),
    },
  });
  const alone = (stage: string, metric: string): MetricChart => {
    const training = { ...series(stage, metric, looksOf([stage])), name: "Training" };
    const validation = { ...series(stage, validationOf(metric), looksOf([stage])), name: "Validation" };
    const shape = appearance(metric);
    const both = validation.points.length > 0;
    return {
      ...shape,
      title: `${labelOf(stage)}: ${shape.title.charAt(0).toLowerCase()}${shape.title.slice(1)}`,
      ...(both ? { note: "Line: training. Dots: validation." } : {}),
      chart: {
        kind: "lines",
        x: { label: "step" },
        y: axis(metric),
        series: both
          ? [
              { ...training, marks: "faint" },
              { ...validation, marks: "dots" },
            ]
          : [{ ...training, name: labelOf(stage), marks: "line" }],
      },
    };
  };
  const names = (of: ReadonlyArray<string>) =>
    inCatalogOrder(of.flatMap((stage) => [...stages.get(stage)!.keys()]));
  return {
    runs,
    reinforcement: names(runs).map(overlaid),
    stages: others.flatMap((stage) => {
      const all = names([stage]);
      const paired = new Set(all.map(validationOf));
      return all.filter((metric) => !paired.has(metric)).map((metric) => alone(stage, metric));
    }),
  };
}

/** `loss` → `validationLoss`. */
const validationOf = (metric: string) => `validation${metric.charAt(0).toUpperCase()}${metric.slice(1)}`;

function appearance(metric: string): Pick<MetricChart, "title" | "note" | "group"> {
  const { title, note, main = false } = shown(metric);
  return {
    title,
    ...(note === undefined ? {} : { note }),
    group: isSpeed(metric) ? "speed" : main ? "main" : "more",
  };
}

function axis(metric: string): Axis {
  const { unit, percent = false } = shown(metric);
  return { label: unit, percent, zero: isSpeed(metric) };
}

function inCatalogOrder(names: ReadonlyArray<string>): Array<string> {
  const order = Object.keys(metrics);
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...new Set(names)].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}
