import { RunFolder } from "@rlhf/core";
import { type Interval, type ReportData, renderReport } from "@rlhf/eval";
import { Console, Effect } from "effect";
import type { Config } from "../instructgpt-repro/config.ts";
import type { Judged, Start } from "./judge.ts";
import type { OpenRun } from "./open_run.ts";
import { withoutBudget } from "./optimizers.ts";

/** An optimizer with a seed whose process did not go through. */
export interface Failure {
  readonly name: string;
  readonly seed: number;
}

/** Writes `report.html` with the plot and the table, and the table as `table.md`; the best come first, and what lost is there too. */
export const writeReport = Effect.fn("writeReport")(function* (results: {
  readonly start: Start;
  readonly judged: ReadonlyArray<Judged>;
  readonly failures: ReadonlyArray<Failure>;
  readonly prompts: OpenRun["encoded"]["evaluation"];
  readonly config: Config;
  readonly from: string;
  readonly seeds: ReadonlyArray<number>;
  readonly versions: Readonly<Record<string, string>>;
}) {
  const folder = yield* RunFolder;
  const { start, failures, prompts, config, from, seeds, versions } = results;
  const judged = results.judged.toSorted((a, b) => b.winRate.rate.value - a.winRate.rate.value);
  const rows = [...judged.map(rowOf), startRow(start), ...neverFinished(judged, failures)];
  const note =
    `Over seeds ${seeds.join(", ")}. Everyone had the same prompts and the same reward model, and stopped at ` +
    `${config.ppo.klBudget} nats from the supervised policy; an asterisk marks training that no KL can stop.`;
  const data: ReportData = {
    title: "PPO, and what could stand in its place",
    subtitle: note,
    date: new Date().toISOString().slice(0, 10),
    winRates: judged.map(({ winRate }) => winRate),
    metrics: judged.flatMap(({ curves }) => curves),
    tables: [{ title: "Optimizers", note, rows }],
    notes: [
      "The intervals resample prompts; what another seed changes is in the column “by seed”. The seeds are those of the last stage: all of them share one reward model.",
      `Curves and samples are those of seed ${seeds[0]}.`,
      ...failures.map(
        ({ name, seed }) => `${name} with seed ${seed} failed; its folder holds how far it came.`,
      ),
    ],
    samples: prompts.map(({ prompt }, i) => ({
      prompt: prompt.text.trim(),
      answers: [{ name: "sft", runs: start.answered }, ...judged].map(({ name, runs }) => ({
        model: name,
        text: runs[0]!.texts[i]!,
      })),
    })),
    configuration: { from, seeds, ...config },
    versions,
  };
  const table = markdown(rows);
  yield* folder.writeText("report.html", renderReport(data));
  const { metrics: _, samples: __, ...stored } = data;
  yield* folder.writeJson("report.json", stored);
  yield* folder.writeText("table.md", table);
  yield* Console.log(`\n${note}\n\n${table}\n${folder.file("report.html")}`);
});

type Row = Readonly<Record<string, string>>;

function rowOf(one: Judged): Row {
  const free = withoutBudget.has(one.name);
  return {
    optimizer: free ? `${one.name} *` : one.name,
    "gold win rate over SFT": interval(one.winRate.rate),
    "by seed": one.winRateBySeed.map(percent).join(", "),
    "KL, nats": free ? `${one.kl.toFixed(2)} *` : one.kl.toFixed(2),
    ...answersOf(one),
    "wall time": seconds(one.seconds),
    "CPU time": seconds(one.cpuSeconds),
    "peak memory": `${one.peakMebibytes.toFixed(0)} MiB`,
  };
}

function startRow(start: Start): Row {
  const none = { "gold win rate over SFT": "–", "by seed": "–", "KL, nats": "0" };
  return { optimizer: "sft, the start", ...none, ...answersOf(start) };
}

function answersOf({ words, length, distinct2, distinctAnswers }: Omit<Start, "answered">): Row {
  return {
    words: words.toFixed(1),
    tokens: length.toFixed(1),
    "distinct 2-grams": distinct2.toFixed(3),
    "distinct answers": percent(distinctAnswers),
  };
}

function neverFinished(judged: ReadonlyArray<Judged>, failures: ReadonlyArray<Failure>): ReadonlyArray<Row> {
  const finished = new Set(judged.map(({ name }) => name));
  const names = new Set(failures.map(({ name }) => name).filter((name) => !finished.has(name)));
  return Array.from(names, (name) => ({ optimizer: name, "gold win rate over SFT": "failed" }));
}

function markdown(rows: ReadonlyArray<Row>): string {
  const titles = Object.keys(rows[0]!);
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |\n`;
  return [titles, titles.map(() => "---"), ...rows.map((row) => titles.map((title) => row[title] ?? "–"))]
    .map(line)
    .join("");
}

function interval({ value, low, high }: Interval): string {
  return `${percent(value)} (${percent(low)} to ${percent(high)})`;
}

function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} s`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
