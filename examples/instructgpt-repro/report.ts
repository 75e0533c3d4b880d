import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type MetricsRow, RunFolder, type Warning } from "@rlhf/core";
import { type LabelersReport, type ReportData, renderReport } from "@rlhf/eval/report";
import { renderSummary } from "@rlhf/eval/summary";
import { datasetSize, type SimulatedLabelers } from "@rlhf/labeler";
import { Console, Effect } from "effect";
import type { Comparisons } from "./comparisons.ts";
import type { PipelineData } from "./data.ts";
import type { TaskPrompt } from "./tasks.ts";

/** What a run found out. */
export type Results = Omit<
  ReportData,
  "metrics" | "notes" | "title" | "date" | "configuration" | "versions" | "notEvaluated"
>;

/** Writes `report.html` and `report.json`, prints one screen of results, and says where the page is. */
export const writeReport = Effect.fn("writeReport")(function* (
  results: Omit<ReportData, "metrics" | "title" | "date">,
) {
  const folder = yield* RunFolder;
  const rows = <A>(name: string) =>
    Effect.promise(async (): Promise<ReadonlyArray<A>> => {
      const text = existsSync(folder.file(name)) ? await readFile(folder.file(name), "utf8") : "";
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));
    });
  const warnings = yield* rows<MetricsRow & Warning>("warnings.jsonl");
  const data: ReportData = {
    title: "InstructGPT, end to end",
    date: new Date().toISOString().slice(0, 10),
    ...results,
    metrics: yield* rows<MetricsRow>("metrics.jsonl"),
    notes: warnings.map(
      ({ stage, step, problem, remedy }) =>
        `Warning in iteration ${step} of ${stage}: ${problem}. Remedy: ${remedy}.`,
    ),
  };
  yield* folder.writeText("report.html", renderReport(data));
  const { metrics: _, ...stored } = data; // metrics.jsonl has them
  yield* folder.writeJson("report.json", stored);
  yield* Console.log(`\n${renderSummary(data, 100)}\n\n${folder.file("report.html")}`);
});

/** The simulated labellers, their taste, and how much they ranked. */
export function describeLabelers(
  labelers: SimulatedLabelers<TaskPrompt>,
  { texts }: Comparisons,
): LabelersReport {
  const { training, heldOut } = labelers;
  const { prompts, responses, rankings, pairs, tied } = datasetSize(texts);
  const count = (size: number) => size.toLocaleString("en");
  const row = (role: string) => (labeler: (typeof training)[number]) => ({
    labeller: labeler.name,
    role,
    ...Object.fromEntries(Object.entries(labeler.weights).map(([name, weight]) => [name, weight.toFixed(2)])),
    strictness: labeler.strictness.toFixed(2),
  });
  return {
    simulated: true,
    description:
      `${training.length} simulated labellers ranked ${count(responses)} responses to ${count(prompts)} prompts: ` +
      `${count(rankings)} rankings, ${count(pairs)} pairs, ${count(tied)} of them tied. ` +
      `${heldOut.length} more are held out and only judge. Each rates words as one of the ten ` +
      "people behind VADER's lexicon did, weighs the criteria in its own way, and slips at random.",
    rows: [...training.map(row("training")), ...heldOut.map(row("held out"))],
  };
}

/** What the user's own data leaves without a judge. */
export function notEvaluated({ own }: PipelineData) {
  const left: Array<{ readonly what: string; readonly why: string }> = [];
  if (own.comparisons) {
    left.push({
      what: "win rates, gold reward, agreement between labellers",
      why: "your comparisons come from people, and no simulated labeller knows their taste",
    });
  }
  if (own.demonstrations || own.comparisons) {
    left.push({
      what: "instruction followed, asked-for mood, truthfulness",
      why: "the built-in checks read WordNet's tasks only, not prompts of your own",
    });
    if (!own.comparisons) {
      left.push({
        what: "what your prompts ask for, in rankings, win rates and gold reward",
        why: "simulated labellers judge answers to prompts of your own by form, fluency and harmlessness alone",
      });
    }
  }
  return left;
}
