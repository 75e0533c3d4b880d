import { formatNumber, formatPercent } from "./_format.ts";
import type { Html } from "./_html.ts";
import { html } from "./_html.ts";
import type { Look } from "./_models.ts";
import type { CurvePoint } from "./_thin.ts";
import type { Interval } from "./interval.ts";

/** What `_report_charts.js` draws; plain JSON. */
export type Chart = Lines | Whiskers | Frontier | Calibration;

export interface Axis {
  readonly label: string;
  /** Values are shares, to be shown in percent. */
  readonly percent?: boolean;
  /** The axis begins at 0, so that lengths can be compared. */
  readonly zero?: boolean;
}

export interface Lines {
  readonly kind: "lines";
  readonly x: Axis;
  readonly y: Axis;
  readonly series: ReadonlyArray<{
    readonly name: string;
    readonly look: Look;
    readonly points: ReadonlyArray<CurvePoint>;
    /** Training is drawn faint behind validation where a chart has both. */
    readonly marks: "line" | "faint" | "dots";
  }>;
}

export interface Whiskers {
  readonly kind: "whiskers";
  readonly x: Axis;
  /** Where nothing was won or lost. */
  readonly rule?: number;
  readonly domain?: readonly [number, number];
  readonly rows: ReadonlyArray<
    Interval & { readonly label: string; readonly look: Look; readonly hollow?: Interval }
  >;
}

export interface Frontier {
  readonly kind: "frontier";
  readonly x: Axis;
  readonly y: Axis;
  readonly series: ReadonlyArray<{
    readonly name: string;
    readonly look: Look;
    readonly points: ReadonlyArray<readonly [number, number]>;
    readonly fit: ReadonlyArray<readonly [number, number]>;
  }>;
}

export interface Calibration {
  readonly kind: "calibration";
  readonly x: Axis;
  readonly y: Axis;
  readonly bins: ReadonlyArray<{
    readonly predicted: number;
    readonly observed: number;
    readonly pairs: number;
  }>;
}

/** Collects the charts of a page, so that its markup holds places and one script their data. */
export class ChartSheet {
  readonly charts: Array<Chart> = [];

  figure(title: string, note: string | undefined, chart: Chart): Html {
    const index = this.charts.push(chart) - 1;
    return html`<figure>
<figcaption><strong>${title}</strong>${note === undefined ? undefined : html` <span>${note}</span>`}</figcaption>
<div class="chart ${chart.kind}" role="img" aria-label="${`${title}. ${describe(chart)}`}" data-chart="${index}"></div>
</figure>`;
  }
}

/** The chart in words, for those who do not see it. */
function describe(chart: Chart): string {
  switch (chart.kind) {
    case "lines":
      return chart.series
        .map(({ name, points }) => {
          const print = chart.y.percent ? formatPercent : formatNumber;
          const [first, last] = [points[0]!, points.at(-1)!];
          return `${name}: from ${print(first.y)} at ${chart.x.label} ${formatNumber(first.x)} to ${print(last.y)} at ${formatNumber(last.x)}`;
        })
        .join("; ");
    case "whiskers": {
      const print = chart.x.percent ? formatPercent : formatNumber;
      return chart.rows
        .map((row) => `${row.label}: ${print(row.value)}, interval ${print(row.low)} to ${print(row.high)}`)
        .join("; ");
    }
    case "frontier":
      return chart.series
        .map(({ name, points }) => {
          const best = points.reduce((a, b) => (b[1] > a[1] ? b : a));
          return `${name}: highest ${formatNumber(best[1])} at a KL of ${formatNumber(best[0])} nats`;
        })
        .join("; ");
    case "calibration":
      return chart.bins
        .map((bin) => `predicted ${formatPercent(bin.predicted)}, observed ${formatPercent(bin.observed)}`)
        .join("; ");
  }
}
