import { formatInterval, formatNumber, formatPercent, formatShare } from "./_format.ts";
import { labelOf } from "./_models.ts";
import { headline } from "./report.ts";
import type { RateRow, ReportData } from "./report_data.ts";

/** The results of a report as plain text for a terminal: one screen, at most `width` columns wide. */
export function renderSummary(data: ReportData, width = 80): string {
  const who = data.labelers?.simulated ? "simulated labellers" : "labellers";
  const { rewardModel, winRates = [], alignmentTax = [], rates = [], notEvaluated = [] } = data;
  const share = (interval: Parameters<typeof formatShare>[0] | undefined) =>
    interval && formatShare(interval);
  const blocks: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<string | undefined>>]> = [
    ...[...new Set(winRates.map(({ judge }) => judge))].map(
      (judge) =>
        [
          `Win rate by ${judge}`,
          winRates
            .filter((row) => row.judge === judge)
            .map(({ model, baseline, rate, lengthControlled }) => [
              `${labelOf(model)} over ${labelOf(baseline)}`,
              formatShare(rate),
              lengthControlled && `${formatShare(lengthControlled)} at equal length`,
            ]),
        ] as const,
    ),
    [
      "Reward model",
      [
        ["accuracy", share(rewardModel?.accuracy)],
        [`accuracy, held-out ${who}`, share(rewardModel?.heldOutAccuracy)],
        [`agreement of ${who}`, share(rewardModel?.labelerAgreement)],
        [`agreement of held-out ${who}`, share(rewardModel?.heldOutAgreement)],
      ].filter(([, value]) => value !== undefined),
    ],
    ["Responses", rates.length === 0 ? [] : rateMatrix(rates)],
    [
      "Alignment tax, nats per token",
      alignmentTax.flatMap(({ rows }) => rows.map((row) => [labelOf(row.model), formatInterval(row.tax)])),
    ],
    [
      "Highest gain in gold reward",
      (data.frontier ?? []).flatMap(({ run, points }) => {
        const best = points.reduce(
          (a, b) => ((b.gold ?? -Infinity) > (a.gold ?? -Infinity) ? b : a),
          points[0]!,
        );
        return best?.gold === undefined
          ? []
          : [[labelOf(run), `${formatNumber(best.gold)} at a KL of ${formatNumber(best.kl)} nats`]];
      }),
    ],
    ["Not evaluated", notEvaluated.map(({ what, why }) => [what, why])],
  ];
  const lines = [data.title, headline(data)].flatMap((text) => wrap(text, width));
  for (const [title, rows] of blocks) {
    if (rows.length === 0) continue;
    lines.push("", title, ...aligned(rows));
  }
  return `${lines.map((line) => cut(clean(line), width)).join("\n")}\n`;
}

/** Models down, criteria across. */
function rateMatrix(rates: ReadonlyArray<RateRow>): ReadonlyArray<ReadonlyArray<string>> {
  const criteria = [...new Set(rates.map((row) => row.criterion))];
  const models = [...new Set(rates.map((row) => row.model))];
  const value = (model: string, criterion: string) =>
    rates.find((row) => row.model === model && row.criterion === criterion)?.value;
  return [
    ["", ...criteria],
    ...models.map((model) => [
      labelOf(model),
      ...criteria.map((criterion) => formatPercent(value(model, criterion) ?? Number.NaN)),
    ]),
  ];
}

function aligned(rows: ReadonlyArray<ReadonlyArray<string | undefined>>): Array<string> {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? "").length)),
  );
  return rows.map((row) =>
    `  ${widths.map((width, i) => (row[i] ?? "").padEnd(width)).join("  ")}`.trimEnd(),
  );
}

function wrap(text: string, width: number): Array<string> {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)!;
    if (last === "") lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Text from outside must not steer the terminal. */
const clean = (text: string) => text.replace(/\p{Cc}+/gu, " ");
const cut = (line: string, width: number) => (line.length > width ? `${line.slice(0, width - 1)}…` : line);
