/** Medians, ratios with their spread, and tables. */

export function median(values: ReadonlyArray<number>): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How many times faster we are: the median over rounds of theirs / ours, with the least and the greatest. */
export function ratioOf(ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>) {
  const ratios = ours.map((seconds, round) => theirs[round]! / seconds);
  return { middle: median(ratios), least: Math.min(...ratios), greatest: Math.max(...ratios) };
}

/** Three significant digits, with thousands in the usual way. */
export const number = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : `${Number(value.toPrecision(3))}`;
export const percent = (share: number): string => `${Math.round(100 * share)} %`;
export const megabytes = (bytes: number): string => `${number(bytes / 1e6)} MB`;

export type Row = ReadonlyArray<string | number | undefined>;

/** A table in Markdown under its caption; nothing when it is empty. */
export function printTable(caption: string, titles: Row, rows: ReadonlyArray<Row>): void {
  if (rows.length === 0) return;
  const line = (cells: Row) => `| ${cells.map((cell) => cell ?? "–").join(" | ")} |`;
  console.log([caption, "", ...[titles, titles.map(() => "---"), ...rows].map(line), ""].join("\n"));
}
