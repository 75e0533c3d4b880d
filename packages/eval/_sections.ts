import type { ChartSheet } from "./_charts.ts";
import { configuration } from "./_configuration.ts";
import { formatInterval, formatNumber, formatPercent, formatShare } from "./_format.ts";
import type { Html } from "./_html.ts";
import { html } from "./_html.ts";
import type { MetricChart } from "./_metrics.ts";
import { curves } from "./_metrics.ts";
import { type Look, labelOf, looksOf } from "./_models.ts";
import { cell, figure, legend, name, recordTable, table } from "./_tables.ts";
import { fitFrontier } from "./frontier.ts";
import type { Interval } from "./interval.ts";
import type { FrontierRun, ReportData, Table } from "./report_data.ts";

/** A part of the page; one whose `body` is absent had no data. */
export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: Html | undefined;
}

/** More samples and longer texts than these make a page that nobody reads. */
const shownSamples = 24;
const shownCharacters = 1200;

/** All sections in the order of the page; their charts are added to `sheet`. */
export function sections(data: ReportData, sheet: ChartSheet): ReadonlyArray<Section> {
  const judged = curves(data.metrics ?? []);
  return [
    { id: "preferences", title: "Preferences", body: preferences(data, sheet) },
    { id: "frontier", title: "Reward against KL", body: frontier(data, sheet) },
    {
      id: "reinforcement",
      title: "Reinforcement learning",
      body:
        judged.reinforcement.length === 0
          ? undefined
          : reinforcement(judged.runs, judged.reinforcement, sheet),
    },
    {
      id: "stages",
      title: "The stages before",
      body:
        judged.stages.length === 0
          ? undefined
          : html`<p>Losses of every stage on training and validation data.</p>
${chartGroups(judged.stages, sheet)}`,
    },
    { id: "reward-model", title: "Reward model", body: rewardModel(data, sheet) },
    { id: "rates", title: "What the responses are like", body: responseRates(data, sheet) },
    { id: "alignment-tax", title: "Alignment tax", body: alignmentTax(data, sheet) },
    { id: "samples", title: "Samples", body: samples(data) },
    {
      id: "labelers",
      title: data.labelers?.simulated ? "Simulated labellers" : "Labellers",
      body: labelers(data),
    },
    { id: "measures", title: "Other measures", body: measures(data.tables) },
    { id: "notes", title: "Findings and failures", body: notes(data.notes) },
    { id: "configuration", title: "Configuration", body: configuration(data) },
  ];
}

function preferences({ winRates = [] }: ReportData, sheet: ChartSheet): Html | undefined {
  if (winRates.length === 0) return undefined;
  const looks = looksOf(winRates.map((row) => row.model));
  const controlled = winRates.some((row) => row.lengthControlled);
  const judges = [...new Set(winRates.map((row) => row.judge))];
  return html`<p>How often a model’s answer was preferred to the baseline’s. Every pair is judged in both orders, a tie counts half; intervals are 95 % bootstrap over prompts.</p>
<div class="grid wide">${judges.map((judge) =>
    sheet.figure(
      `Win rate by ${judge}`,
      controlled ? "Filled: as judged. Hollow: at equal length. Dashed: even." : "Dashed: even.",
      {
        kind: "whiskers",
        x: { label: "comparisons won (%)", percent: true },
        rule: 0.5,
        domain: [0, 1],
        rows: winRates
          .filter((row) => row.judge === judge)
          .map((row) => ({
            ...row.rate,
            label: `${labelOf(row.model)} over ${labelOf(row.baseline)}`,
            look: looks.get(row.model)!,
            ...(row.lengthControlled ? { hollow: row.lengthControlled } : {}),
          })),
      },
    ),
  )}</div>
${table(
  [
    "Model",
    "Baseline",
    "Win rate",
    ...(controlled ? ["At equal length"] : []),
    ...(judges.length > 1 ? ["Judge"] : []),
    "Pairs",
    "Same in both orders",
  ],
  winRates.map((row) => [
    name(row.model, looks),
    labelOf(row.baseline),
    figure(formatShare(row.rate)),
    ...(controlled ? [figure(row.lengthControlled ? formatShare(row.lengthControlled) : "–")] : []),
    ...(judges.length > 1 ? [cell("long", row.judge)] : []),
    figure(formatNumber(row.comparisons)),
    figure(row.consistency === undefined ? "–" : formatPercent(row.consistency)),
  ]),
)}`;
}

function frontier(data: ReportData, sheet: ChartSheet): Html | undefined {
  const runs = (data.frontier ?? []).filter((run) => run.points.length > 0);
  const kinds = (["learned", "gold"] as const).filter((kind) =>
    runs.some((run) => run.points.some((point) => point[kind] !== undefined)),
  );
  if (kinds.length === 0) return undefined;
  const looks = looksOf(runs.map((run) => run.run));
  const fits = kinds.flatMap((kind) =>
    runs.flatMap((run) => {
      const fit = fitted(run, kind);
      return fit === undefined
        ? []
        : [{ kind, run: run.run, fit, last: Math.max(...run.points.map((point) => point.kl)) }];
    }),
  );
  const titles = { learned: "Learned reward", gold: "Gold reward" };
  return html`<p>The further a policy moves from its start, the more learned reward it collects; past some point the gold reward turns. Curves are fits of R(d) = d·(α − β·log d) with d = √KL (Gao et al. 2022).</p>
${legend(
  runs.map((run) => run.run),
  looks,
)}
<div class="grid wide">${kinds.map((kind) =>
    sheet.figure(
      titles[kind],
      kind === "gold" ? "Never trained on." : "What the policy is trained to raise.",
      {
        kind: "frontier",
        x: { label: "KL to the initial policy (nats, square-root scale)" },
        y: { label: "gain in score" },
        series: runs.flatMap((run) => {
          const points = pointsOf(run, kind);
          if (points.length === 0) return [];
          const fit = fitted(run, kind);
          const end = Math.sqrt(Math.max(...points.map((point) => point.kl), 0));
          return [
            {
              name: labelOf(run.run),
              look: looks.get(run.run)!,
              points: points.map((point) => [point.kl, point.reward] as const),
              fit:
                fit === undefined
                  ? []
                  : Array.from({ length: 61 }, (_, i) => ((end * i) / 60) ** 2).map(
                      (kl) => [kl, fit.reward(kl)] as const,
                    ),
            },
          ];
        }),
      },
    ),
  )}</div>
${
  fits.length === 0
    ? undefined
    : table(
        ["Run", "Reward", "α", "β", "R²", "Fitted peak at KL"],
        fits.map(({ kind, run, fit, last }) => [
          name(run, looks),
          titles[kind],
          figure(formatNumber(fit.alpha)),
          figure(formatNumber(fit.beta)),
          figure(formatNumber(fit.rSquared)),
          figure(peak(fit.peakKl, last)),
        ]),
      )
}`;
}

/** A turn far beyond the run is an extrapolation that nobody should quote. */
function peak(kl: number | undefined, last: number): string {
  if (kl === undefined) return "never turns";
  return kl > last ? "beyond this run" : `${formatNumber(kl)} nats`;
}

function pointsOf(run: FrontierRun, kind: "learned" | "gold") {
  return run.points.flatMap((point) =>
    point[kind] === undefined ? [] : [{ kl: point.kl, reward: point[kind] }],
  );
}

/** A fit needs more points than it has parameters to say anything. */
function fitted(run: FrontierRun, kind: "learned" | "gold") {
  const points = pointsOf(run, kind);
  const distances = new Set(points.map((point) => point.kl).filter((kl) => kl > 0));
  return distances.size < 4 ? undefined : fitFrontier(points, run.form);
}

function reinforcement(
  runs: ReadonlyArray<string>,
  charts: ReadonlyArray<MetricChart>,
  sheet: ChartSheet,
): Html {
  return html`<p>Every run overlaid, one chart per quantity. Shading shows the range of iterations that were averaged for drawing.</p>
${legend(runs, looksOf(runs))}${chartGroups(charts, sheet)}`;
}

function chartGroups(charts: ReadonlyArray<MetricChart>, sheet: ChartSheet): Html {
  const grid = (group: MetricChart["group"]) =>
    html`<div class="grid">${charts
      .filter((chart) => chart.group === group)
      .map(({ title, note, chart }) => sheet.figure(title, note, chart))}</div>`;
  const has = (group: MetricChart["group"]) => charts.some((chart) => chart.group === group);
  return html`${has("main") ? grid("main") : undefined}
${has("speed") ? html`<details><summary>Speed, by phase</summary>${grid("speed")}</details>` : undefined}
${has("more") ? html`<details><summary>More curves</summary>${grid("more")}</details>` : undefined}`;
}

function rewardModel({ rewardModel: report, labelers }: ReportData, sheet: ChartSheet): Html | undefined {
  if (report === undefined) return undefined;
  const who = labelers?.simulated ? "simulated labellers" : "labellers";
  const rows: ReadonlyArray<readonly [string, Look, Interval | undefined]> = [
    ["Reward model, training pool", "reward", report.accuracy],
    ["Agreement, training pool", "base", report.labelerAgreement],
    ["Reward model, held-out pool", "reward", report.heldOutAccuracy],
    ["Agreement, held-out pool", "base", report.heldOutAgreement],
  ];
  const present = rows.flatMap(([label, look, interval]) =>
    interval === undefined ? [] : [{ label, look, ...interval }],
  );
  return html`<p>How often the learned reward orders two answers as a labeller did, beside how often two labellers agree with each other, which is the yardstick.</p>
<div class="grid wide">
${sheet.figure(
  "Accuracy and agreement",
  `With two pools of ${who}, on new pairs without ties. Dashed: chance.`,
  {
    kind: "whiskers",
    x: { label: "pairs (%)", percent: true },
    rule: 0.5,
    domain: [Math.min(0.4, ...present.map((row) => row.low)), 1],
    rows: present,
  },
)}
${
  report.calibration === undefined || report.calibration.length === 0
    ? undefined
    : sheet.figure("Calibration", "On the dashed line, a score difference means what it says. Area: pairs.", {
        kind: "calibration",
        x: { label: "predicted: higher score preferred (%)", percent: true },
        y: { label: "observed (%)", percent: true },
        bins: report.calibration.map(({ predicted, observed, pairs }) => ({ predicted, observed, pairs })),
      })
}
</div>
${table(
  ["", "Share of pairs"],
  present.map(({ label, ...interval }) => [label, figure(formatShare(interval))]),
)}`;
}

function responseRates({ rates = [] }: ReportData, sheet: ChartSheet): Html | undefined {
  if (rates.length === 0) return undefined;
  const models = [...new Set(rates.map((row) => row.model))];
  const looks = looksOf(models);
  const criteria = [...new Set(rates.map((row) => row.criterion))];
  return html`<p>Share of responses that fulfil each criterion, with 95 % intervals.</p>
<div class="grid">${criteria.map((criterion) =>
    sheet.figure(capitalized(criterion), undefined, {
      kind: "whiskers",
      x: { label: "responses (%)", percent: true },
      domain: [
        0,
        roundTop(Math.max(...rates.filter((row) => row.criterion === criterion).map((row) => row.high))),
      ],
      rows: rates
        .filter((row) => row.criterion === criterion)
        .map(({ model, value, low, high }) => ({
          label: labelOf(model),
          look: looks.get(model)!,
          value,
          low,
          high,
        })),
    }),
  )}</div>
${table(
  ["Model", ...criteria.map(capitalized), "Responses"],
  models.map((model) => {
    const row = (criterion: string) =>
      rates.find((rate) => rate.model === model && rate.criterion === criterion);
    const counts = rates.filter((rate) => rate.model === model).map((rate) => rate.count);
    return [
      name(model, looks),
      ...criteria.map((criterion) => {
        const rate = row(criterion);
        return figure(rate === undefined ? "–" : formatShare(rate));
      }),
      figure(formatNumber(Math.max(...counts))),
    ];
  }),
)}`;
}

const capitalized = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The end of an axis of shares: rare things such as toxicity would vanish on one that ends at 1. */
const roundTop = (share: number) => [0.02, 0.05, 0.1, 0.25, 0.5].find((top) => share <= top) ?? 1;

function alignmentTax({ alignmentTax: reports = [] }: ReportData, sheet: ChartSheet): Html | undefined {
  if (reports.length === 0) return undefined;
  return html`<p>What alignment cost on text the base model was pretrained for: next-token loss above the base model’s. Less is better; PPO-ptx mixes pretraining gradients in to win it back.</p>
${reports.map(({ corpus, rows }) => {
  const looks = looksOf(rows.map((row) => row.model));
  return html`<h3>${capitalized(corpus)}</h3>
<div class="grid wide">${sheet.figure("Loss above the base model", "Dashed: no tax.", {
    kind: "whiskers",
    x: { label: "nats per token" },
    rule: 0,
    rows: rows.map((row) => ({ label: labelOf(row.model), look: looks.get(row.model)!, ...row.tax })),
  })}
${table(
  ["Model", "Nats per token", "Perplexity", "Tax, nats per token"],
  rows.map((row) => [
    name(row.model, looks),
    figure(row.crossEntropy.toFixed(3)),
    figure(formatNumber(row.perplexity)),
    figure(formatInterval(row.tax)),
  ]),
)}</div>`;
})}`;
}

function samples({ samples: all = [] }: ReportData): Html | undefined {
  if (all.length === 0) return undefined;
  const looks = looksOf(all.flatMap((sample) => sample.answers.map((answer) => answer.model)));
  const cut = (text: string) =>
    text.length > shownCharacters ? `${text.slice(0, shownCharacters)} …` : text;
  const card = (sample: (typeof all)[number]) => html`<article class="sample">
<p class="prompt">${cut(sample.prompt)}</p>
<div class="answers">${sample.answers.map(
    (answer) => html`<div class="answer ${looks.get(answer.model)!}">
<h4>${labelOf(answer.model)}</h4>
<p>${answer.text === "" ? html`<span class="soft">(empty)</span>` : cut(answer.text)}</p>
<dl>${Object.entries(answer.scores ?? {}).map(
      ([score, value]) => html`<div><dt>${score}</dt><dd>${value.toFixed(2).replace("-", "−")}</dd></div>`,
    )}</dl>
</div>`,
  )}</div>
</article>`;
  const [open, folded] = [all.slice(0, 4), all.slice(4, shownSamples)];
  return html`<p>The same prompts answered by every model, in the order of the evaluation set: not chosen.</p>
${open.map(card)}
${folded.length === 0 ? undefined : html`<details><summary>${folded.length} more</summary>${folded.map(card)}</details>`}
${all.length > shownSamples ? html`<p class="soft">${shownSamples} of ${formatNumber(all.length)} samples are shown.</p>` : undefined}`;
}

function labelers({ labelers: report }: ReportData): Html | undefined {
  if (report === undefined) return undefined;
  const who = report.simulated ? "simulated labellers" : "labellers";
  const agreements = [
    [`Agreement of two ${who}, training pool`, report.agreement] as const,
    [`Agreement of two ${who}, held-out pool`, report.heldOutAgreement] as const,
  ].flatMap(([label, interval]) => (interval === undefined ? [] : [[label, figure(formatShare(interval))]]));
  return html`<p>${report.description}</p>
${report.simulated ? html`<p><strong>No person ranked anything in this run:</strong> every preference in this report is that of a program.</p>` : undefined}
${agreements.length === 0 ? undefined : table(["", "Share of pairs"], agreements)}
${report.rows === undefined ? undefined : recordTable(report.rows)}`;
}

function measures(tables: ReadonlyArray<Table> = []): Html | undefined {
  if (tables.length === 0) return undefined;
  return html`${tables.map(
    ({ title, note, rows }) =>
      html`<h3>${title}</h3>${note === undefined ? undefined : html`<p class="soft">${note}</p>`}${recordTable(rows)}`,
  )}`;
}

function notes(all: ReadonlyArray<string> = []): Html | undefined {
  if (all.length === 0) return undefined;
  return html`<ul class="notes">${all.map((note) => html`<li>${note}</li>`)}</ul>`;
}
