import { Progress, type ProgressEvent, type TableRow } from "@rlhf/core";
import { Effect, Stream } from "effect";

/**
 * Prints what the stages publish: one line per stage that rewrites itself on a terminal, or a line every few seconds
 * where the output is a file; notes and tables of samples as they come.
 */
export const showProgress = Effect.gen(function* () {
  const { events } = yield* Progress;
  const screen = new Screen(process.stdout);
  yield* events.pipe(
    Stream.runForEach((event) => Effect.sync(() => screen.show(event))),
    Effect.forkScoped({ startImmediately: true }),
  );
});

const secondsBetweenLines = 5;

class Screen {
  private readonly out: NodeJS.WriteStream;
  private started = performance.now();
  private tokens = 0;
  private lastLine = Number.NEGATIVE_INFINITY;
  private rewriting = false;

  constructor(out: NodeJS.WriteStream) {
    this.out = out;
  }

  show(event: ProgressEvent): void {
    const now = performance.now();
    switch (event._tag) {
      case "Started":
        this.started = now;
        this.tokens = 0;
        this.lastLine = Number.NEGATIVE_INFINITY;
        this.line(`\n${event.stage}: ${event.total.toLocaleString("en")} ${event.unit}`);
        break;
      case "Step": {
        this.tokens += event.tokens;
        const due = this.out.isTTY || now - this.lastLine > secondsBetweenLines * 1000;
        if (!due && event.step < event.total) break;
        this.lastLine = now;
        this.progress(this.describe(event, (now - this.started) / 1000));
        break;
      }
      case "Note":
        this.line(`  ${event.message}`);
        break;
      case "Warning":
        this.line(`  Warning: ${event.problem}\n    ${event.remedy}`);
        break;
      case "Table":
        this.line(`\n${event.title}\n${formatTable(event.rows, this.out.columns ?? 110)}`);
        break;
      case "Finished":
        this.line(`  done in ${duration((now - this.started) / 1000)}  ${formatMetrics(event.metrics)}`);
        break;
    }
  }

  private describe(event: Extract<ProgressEvent, { _tag: "Step" }>, seconds: number): string {
    const share = event.step / event.total;
    const remaining = share > 0 ? duration((seconds / share) * (1 - share)) : "…";
    const speed = event.tokens > 0 ? `  ${Math.round(this.tokens / seconds).toLocaleString("en")} tok/s` : "";
    return `  ${String(Math.floor(share * 100)).padStart(3)} %  ${event.step}/${event.total}  ETA ${remaining}${speed}  ${formatMetrics(event.metrics)}`;
  }

  private progress(text: string): void {
    if (this.out.isTTY) {
      this.out.write(`\r\x1b[2K${text.slice(0, (this.out.columns ?? 110) - 1)}`);
      this.rewriting = true;
    } else {
      this.line(text);
    }
  }

  private line(text: string): void {
    if (this.rewriting) this.out.write("\n");
    this.rewriting = false;
    this.out.write(`${text}\n`);
  }
}

/** As many metrics as fit on a line; all of them are in metrics.jsonl. */
function formatMetrics(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics)
    .slice(0, 7)
    .map(([name, value]) => `${name} ${formatNumber(value)}`)
    .join("  ");
}

function formatNumber(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 0.001 ? value.toFixed(3) : value.toExponential(1);
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** Text columns share what the number columns leave of the width. */
function formatTable(rows: ReadonlyArray<TableRow>, width: number): string {
  const titles = Object.keys(rows[0] ?? {});
  const cells = [titles, ...rows.map((row) => titles.map((title) => cell(row[title] ?? "")))];
  const natural = titles.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  const isText = titles.map((title) => rows.some((row) => typeof row[title] === "string"));
  const fixed = natural.reduce((sum, size, column) => sum + (isText[column] ? 0 : size), 0);
  const forText = Math.floor(
    (width - fixed - 2 * titles.length) / Math.max(1, isText.filter(Boolean).length),
  );
  const sizes = natural.map((size, column) =>
    isText[column] ? Math.min(size, Math.max(12, forText)) : size,
  );
  return cells
    .map((line) =>
      line
        .map((text, column) => {
          const size = sizes[column]!;
          const cut = text.length > size ? `${text.slice(0, size - 1)}…` : text;
          return isText[column] ? cut.padEnd(size) : cut.padStart(size);
        })
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `  ${line}`)
    .join("\n");
}

function cell(value: string | number): string {
  return typeof value === "number" ? formatNumber(value) : value.replace(/\s+/g, " ");
}
