import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { ChartSheet } from "./_charts.ts";
import { formatNumber, formatPercent } from "./_format.ts";
import { embeddedJson, Html, html } from "./_html.ts";
import { labelOf } from "./_models.ts";
import { reportStyle } from "./_report_style.ts";
import { type Section, sections } from "./_sections.ts";
import type { ReportData } from "./report_data.ts";

export * from "./report_data.ts";

/**
 * One HTML page with everything in `data`, for a phone as well as a desktop, in light or dark as the reader's system
 * has it. The page is complete in itself: charts (Observable Plot), style and data are inlined, and its content security
 * policy forbids every load. All text is escaped. Long runs are thinned to a few hundred points a curve.
 */
export function renderReport(data: ReportData): string {
  const sheet = new ChartSheet();
  const all = sections(data, sheet);
  const present = all.filter((section) => section.body !== undefined);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${data.title}</title>
<style>${new Html(reportStyle)}</style>
</head>
<body>
<header>
${data.date === undefined ? undefined : html`<p class="eyebrow">${data.date}</p>`}
<h1>${data.title}</h1>
${data.subtitle === undefined ? undefined : html`<p class="soft">${data.subtitle}</p>`}
<p class="headline">${headline(data)}</p>
${tiles(data)}
<nav aria-label="Sections"><ul>${present.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<noscript><p class="soft">Curves are drawn with JavaScript; the tables below hold the results without it.</p></noscript>
</header>
<main>
${present.map(({ id, title, body }) => html`<section id="${id}"><h2>${title}</h2>${body}</section>`)}
${notEvaluated(data, all)}
</main>
<footer>Made by <code>@rlhf/eval</code>. Charts by Observable Plot and D3 (ISC licence).</footer>
<script type="application/json" id="charts">${embeddedJson(sheet.charts)}</script>
<script>${umdBuild("d3", "d3.min.js")}</script>
<script>${umdBuild("@observablehq/plot", "plot.umd.min.js")}</script>
<script type="module">${chartScript()}</script>
</body>
</html>
`;
  return page.markup;
}

/** The headline of the data, or the first win rate in words. */
export function headline(data: ReportData): string {
  if (data.headline !== undefined) return data.headline;
  const first = data.winRates?.[0];
  if (first === undefined) return "This run was not compared with a baseline.";
  const { model, baseline, judge, rate } = first;
  return (
    `${labelOf(model)} was preferred to ${labelOf(baseline)} in ${formatPercent(rate.value)} of comparisons ` +
    `(95 % interval ${formatPercent(rate.low)} to ${formatPercent(rate.high)}; judged by ${judge}).`
  );
}

/** The few numbers that a reader looks for first. */
function tiles({
  winRates = [],
  rewardModel,
  alignmentTax = [],
  frontier = [],
  labelers,
}: ReportData): Html | undefined {
  const tax = alignmentTax[0]?.rows ?? [];
  const gains = frontier.flatMap(({ run, points }) => {
    const gold = points.flatMap((point) => point.gold ?? []);
    return gold.length === 0 ? [] : [{ run, gain: Math.max(...gold) }];
  });
  const best = gains.length === 0 ? undefined : gains.reduce((a, b) => (b.gain > a.gain ? b : a));
  const shown = [
    ...winRates
      .slice(0, 1)
      .map(
        (row) =>
          [
            formatPercent(row.rate.value),
            `${labelOf(row.model)} preferred to ${labelOf(row.baseline)} by ${row.judge}`,
          ] as const,
      ),
    ...(rewardModel === undefined
      ? []
      : [
          [
            formatPercent(rewardModel.accuracy.value),
            rewardModel.labelerAgreement === undefined
              ? "accuracy of the reward model"
              : `accuracy of the reward model; two ${labelers?.simulated ? "simulated labellers" : "labellers"} agree on ${formatPercent(rewardModel.labelerAgreement.value)}`,
          ] as const,
        ]),
    ...(best === undefined
      ? []
      : [[formatNumber(best.gain), `highest gain in gold reward, by ${labelOf(best.run)}`] as const]),
    ...tax
      .slice(-1)
      .map(
        (row) =>
          [formatNumber(row.tax.value), `nats per token of alignment tax, ${labelOf(row.model)}`] as const,
      ),
  ];
  if (shown.length === 0) return undefined;
  return html`<ul class="tiles">${shown.map(([value, meaning]) => html`<li class="tile"><b>${value}</b><span>${meaning}</span></li>`)}</ul>`;
}

function notEvaluated(data: ReportData, all: ReadonlyArray<Section>): Html | undefined {
  const missing = [
    ...(data.notEvaluated ?? []).map(({ what, why }) => html`<li><strong>${what}</strong>: ${why}</li>`),
    ...all
      .filter((section) => section.body === undefined)
      .map(({ title }) => html`<li><strong>${title}</strong>: this run has no data for it.</li>`),
  ];
  if (missing.length === 0) return undefined;
  return html`<section id="not-evaluated"><h2>Not evaluated</h2><ul class="notes">${missing}</ul></section>`;
}

/** The drawing code, without the reference to a source map that a build appends: the page must ask for no file. */
function chartScript(): Html {
  const code = readFileSync(new URL("./_report_charts.js", import.meta.url), "utf8");
  return new Html(code.replace(/^\/\/# sourceMappingURL=.*$/m, ""));
}

/** A package's build for browsers, which lies in its `dist` beside the folder of its entry point. */
function umdBuild(packageName: string, file: string): Html {
  const entry = pathToFileURL(createRequire(import.meta.url).resolve(packageName));
  return new Html(readFileSync(new URL(`../dist/${file}`, entry), "utf8"));
}
