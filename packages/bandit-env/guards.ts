import type { Warning } from "@rlhf/core/run_folder";

type Metrics = Readonly<Record<string, number>>;

/** Iterations whose mean stands for a time; noise moves it less than a single one. */
const window = 5;

/** One metric over time, in means over {@link window} iterations. */
interface Series {
  readonly start: number;
  /** The last mean that shares no iteration with `now`. */
  readonly before: number;
  readonly now: number;
  /** All means from `start` to `before`. */
  readonly past: ReadonlyArray<number>;
  /** Standard error of the difference of two means. */
  readonly noise: number;
}

/** A way in which online training goes wrong. The README has the rules in words. */
interface Rule extends Omit<Warning, "problem"> {
  /** What it looks at. */
  readonly metrics: ReadonlyArray<string>;
  /** What is wrong, if it is. */
  readonly find: (...series: ReadonlyArray<Series>) => string | undefined;
}

const rules: ReadonlyArray<Rule> = [
  {
    rule: "KL run-away",
    metrics: ["kl"],
    find: ({ before, now }) =>
      now > 10 && now > 2 * before
        ? `the KL to the reference has doubled within ${window} iterations, to ${now.toFixed(1)} nats a response`
        : undefined,
    remedy: "raise the KL coefficient or lower the learning rate; klBudget ends a run at a KL",
  },
  {
    rule: "entropy collapse",
    metrics: ["entropy"],
    find: ({ start, now }) =>
      now < start / 4
        ? `the policy's entropy has fallen from ${start.toFixed(2)} to ${now.toFixed(2)} nats a token: it says the same again and again`
        : undefined,
    remedy:
      "raise the KL coefficient, lower the learning rate, or take fewer epochs over an iteration's responses",
  },
  {
    rule: "EOS rate falling",
    metrics: ["eosRate"],
    find: ({ start, now }) =>
      now < start - 0.1
        ? `${percent(now)} of the responses end, at the start it were ${percent(start)}: the policy rambles to the token limit`
        : undefined,
    remedy: "raise missingEosPenalty, or maxNewTokens if responses need the room",
  },
  {
    rule: "all scores equal",
    metrics: ["scoreDeviation"],
    find: ({ now }) =>
      now < 1e-6
        ? `all responses of the last ${window} iterations score the same: nothing can be learned`
        : undefined,
    remedy:
      "look at samples and scores: is the reward stuck, or the prompts too hard or too easy for it to tell responses apart",
  },
  {
    rule: "reward hacking",
    metrics: ["gold", "score"],
    find: (gold, score) => {
      const best = Math.max(...gold.past);
      const scoreThen = score.past[gold.past.indexOf(best)]!;
      return gold.now < best - 4 * gold.noise && score.now > scoreThen
        ? `the held-out reward has fallen from ${best.toFixed(3)} to ${gold.now.toFixed(3)} while the score that is trained on rose from ${scoreThen.toFixed(3)} to ${score.now.toFixed(3)}`
        : undefined;
    },
    remedy:
      "stop here or at an earlier checkpoint, raise the KL coefficient, or train the reward model on responses of this policy",
  },
  {
    rule: "value loss exploding",
    metrics: ["valueLoss"],
    find: ({ past, now }) => {
      const lowest = Math.min(...past);
      return now > 10 * lowest
        ? `the value loss has risen from ${lowest.toPrecision(3)} to ${now.toPrecision(3)}: advantages are no longer to be trusted`
        : undefined;
    },
    remedy: "lower criticLearningRate, or bound the scores",
  },
  {
    rule: "length drift",
    metrics: ["responseLength"],
    find: ({ start, now }) =>
      now > 1.5 * start || now < start / 1.5
        ? `responses have ${now.toFixed(1)} tokens, at the start it were ${start.toFixed(1)}: length may be what the reward pays for`
        : undefined,
    remedy: "compare scores at equal length; penalise length in the score, or raise the KL coefficient",
  },
];

/** The metrics that the rules look at. */
export function guarded(metrics: Metrics): Metrics {
  const names = new Set(rules.flatMap((rule) => rule.metrics));
  return Object.fromEntries(Object.entries(metrics).filter(([name]) => names.has(name)));
}

/**
 * What is wrong with an online run, by the metrics of all its iterations so far. The rules compare means over five
 * iterations, so they say nothing before the tenth; nor does one whose metrics are not there.
 */
export function warnings(history: ReadonlyArray<Metrics>): ReadonlyArray<Warning> {
  return rules.flatMap(({ rule, metrics, find, remedy }) => {
    const measured = history.filter((iteration) => metrics.every((name) => name in iteration));
    if (measured.length < 2 * window) return [];
    const problem = find(...metrics.map((name) => seriesOf(measured.map((iteration) => iteration[name]!))));
    return problem === undefined ? [] : [{ rule, problem, remedy }];
  });
}

function seriesOf(values: ReadonlyArray<number>): Series {
  const means = values.slice(window - 1).map((_, i) => mean(values.slice(i, i + window)));
  const past = means.slice(0, -window);
  // Steps from one iteration to the next are noise for the most part, however far the metric wanders.
  const variance = mean(values.slice(1).map((value, i) => (value - values[i]!) ** 2)) / 2;
  return {
    start: means[0]!,
    before: past.at(-1)!,
    now: means.at(-1)!,
    past,
    noise: Math.sqrt((2 * variance) / window),
  };
}

function mean(values: ReadonlyArray<number>): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
