import * as Schema from "effect/Schema";
import { describe, expect, it } from "vitest";
import { longRun, madeUpReport } from "./fixtures/made_up_report.ts";
import { renderReport } from "./report.ts";
import { ReportData } from "./report_data.ts";

const page = renderReport(madeUpReport());
/** The page as a reader without scripts has it. */
const markup = page.replace(/<script[\s\S]*?<\/script>/g, "").replace(/<style[\s\S]*?<\/style>/g, "");
interface DrawnChart {
  readonly x: { readonly label: string };
  readonly y?: { readonly label: string };
  readonly series: ReadonlyArray<{
    readonly name: string;
    readonly look: string;
    readonly points: ReadonlyArray<{ readonly low: number; readonly high: number }>;
  }>;
}
const chartsOf = (text: string): ReadonlyArray<DrawnChart> =>
  JSON.parse(/<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(text)![1]!);

describe("renderReport", () => {
  it("accepts what the schema decodes from JSON", () => {
    const data = madeUpReport();
    expect(Schema.decodeUnknownSync(ReportData)(JSON.parse(JSON.stringify(data)))).toEqual(data);
  });

  it("is well-formed: every element is closed, in order", () => {
    const open: Array<string> = [];
    for (const [, slash, name, rest] of markup.matchAll(/<(\/?)([a-z][a-z0-9]*)\b([^>]*)>/g)) {
      if (["meta", "!doctype"].includes(name!) || rest!.endsWith("/")) continue;
      if (slash === "") open.push(name!);
      else expect(open.pop()).toBe(name);
    }
    expect(open).toEqual([]);
    expect(new Set(markup.match(/ id="[^"]*"/g)).size).toBe(markup.match(/ id="[^"]*"/g)!.length);
  });

  it("loads nothing", () => {
    expect(markup).not.toMatch(/\s(src|srcset|poster|data)=/);
    expect([...markup.matchAll(/href="([^"]*)"/g)].every(([, target]) => target!.startsWith("#"))).toBe(true);
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(
      /@import|url\(|sourceMappingURL/.exec(page.slice(0, page.indexOf("<body>")))?.[0] ?? "\0",
    );
    expect(page).not.toContain("sourceMappingURL");
  });

  it("escapes the text of prompts, answers, names and settings", () => {
    const attack = `"><img src=x onerror='alert(1)'></script><!--`;
    const hostile = renderReport({
      title: attack,
      headline: attack,
      metrics: [{ stage: attack, step: 1, [attack]: 1, kl: 1 }],
      samples: [{ prompt: attack, answers: [{ model: attack, text: attack, scores: { [attack]: 1 } }] }],
      winRates: [
        {
          model: attack,
          baseline: attack,
          judge: attack,
          rate: { value: 0.5, low: 0.4, high: 0.6 },
          comparisons: 3,
        },
      ],
      configuration: { [attack]: { [attack]: attack } },
      tables: [{ title: attack, note: attack, rows: [{ [attack]: attack }] }],
      notes: [attack],
      notEvaluated: [{ what: attack, why: attack }],
    });
    expect(hostile).not.toContain("<img");
    expect(hostile.match(/<\/script>/g)!.length).toBe(page.match(/<\/script>/g)!.length);
    expect(chartsOf(hostile).some((chart) => JSON.stringify(chart).includes("<img"))).toBe(true);
  });

  it("gives every chart a place, a title and its content in words", () => {
    const charts = chartsOf(page);
    expect(charts.length).toBeGreaterThan(15);
    for (const index of charts.keys()) {
      const place = new RegExp(`role="img" aria-label="[^"]{10,}" data-chart="${index}"`);
      expect(markup).toMatch(place);
    }
    for (const chart of charts) expect(chart.x.label).not.toBe("");
  });

  it("overlays the runs that report a KL", () => {
    const kl = chartsOf(page).find((chart) => chart.y?.label === "nats per response");
    expect(kl?.series.map((series) => series.name)).toEqual(["PPO", "PPO-ptx"]);
  });

  it("thins long runs and shows the first of many samples", () => {
    const rows = longRun(200_000);
    const long = renderReport({
      title: "long",
      metrics: rows,
      samples: Array.from({ length: 5000 }, () => ({
        prompt: "p".repeat(5000),
        answers: [{ model: "sft", text: "a".repeat(100_000) }],
      })),
    });
    const [loss] = chartsOf(long);
    const points = loss!.series[0]!.points;
    expect(points.length).toBeLessThanOrEqual(200);
    expect(Math.min(...points.map((point) => point.low))).toBe(0);
    expect(Math.max(...points.map((point) => point.high))).toBe(0.999);
    expect(long.length - renderReport({ title: "short" }).length).toBeLessThan(200_000);
    expect(long).toContain("24 of 5,000 samples are shown");
  });

  it("leaves out what is not a finite number", () => {
    const gaps = renderReport({
      title: "gaps",
      metrics: [
        { stage: "sft", step: 1, loss: 2 },
        { stage: "sft", step: 2, loss: Number.NaN },
        { stage: "sft", step: 3, loss: null, note: "text" },
      ],
    });
    expect(chartsOf(gaps)).toHaveLength(1);
    expect(chartsOf(gaps)[0]!.series[0]!.points).toHaveLength(1);
  });

  it("takes the later of two rows for one step, and joins rows of one step", () => {
    const resumed = renderReport({
      title: "resumed",
      metrics: [
        { stage: "ppo", step: 1, kl: 1 },
        { stage: "ppo", step: 2, kl: 5 },
        { stage: "ppo", step: 2, kl: 2 },
        { stage: "ppo", step: 2, gold: 0.5 },
      ],
    });
    const points = chartsOf(resumed).map((chart) => chart.series[0]!.points.map((point) => point.low));
    expect(points).toEqual([[0.5], [1, 2]]);
  });

  it("names what a run without data did not evaluate", () => {
    const empty = renderReport({ title: "empty" });
    expect(chartsOf(empty)).toEqual([]);
    expect(empty).not.toContain('<section id="preferences">');
    const missing = empty.slice(empty.indexOf('id="not-evaluated"'));
    for (const title of ["Preferences", "Reward against KL", "Reward model", "Alignment tax", "Samples"]) {
      expect(missing).toContain(`<strong>${title}</strong>`);
    }
  });

  it("calls runs of several rounds by their names, the last in the colors of the model that is compared", () => {
    const rounds = renderReport({
      title: "rounds",
      metrics: ["ppo-ptx", "ppo-ptx (round 2)", "ppo (round 2)"].map((stage) => ({ stage, step: 1, kl: 1 })),
    });
    const series = chartsOf(rounds)[0]!.series.map(({ name, look }) => [name, look]);
    expect(series).toEqual([
      ["PPO-ptx", "other1"],
      ["PPO-ptx (round 2)", "ptx"],
      ["PPO (round 2)", "ppo"],
    ]);
  });

  it("folds settings that belong to no stage into one table", () => {
    const configured = renderReport({
      title: "settings",
      configuration: { seed: 1, rounds: 2, sft: { epochs: 3 } },
    });
    expect(configured.match(/<details><summary>/g)).toHaveLength(2);
    expect(configured).toContain("<summary>Run</summary>");
  });

  it("calls simulated labellers simulated", () => {
    expect(markup).toContain("<h2>Simulated labellers</h2>");
    expect(markup).toContain("No person ranked anything in this run");
    expect(markup).not.toMatch(/\btwo labellers agree on/);
  });
});
