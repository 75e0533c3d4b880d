import type { Interval } from "./interval.ts";

/** Three significant digits, thousands separated: 0.0123, 4.56, 78.9, 1,234. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return minus(value.toExponential(1).replace("e+", "e"));
  const digits = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : size >= 0.01 ? 3 : 4;
  return Number.isInteger(value)
    ? minus(value.toLocaleString("en-US"))
    : minus(value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
}

export function formatPercent(share: number): string {
  return Number.isFinite(share) ? minus(`${(100 * share).toFixed(1)} %`) : "–";
}

/** `71.3 % (66.0 – 76.2)` */
export function formatShare({ value, low, high }: Interval): string {
  return `${formatPercent(value)} (${minus((100 * low).toFixed(1))} – ${minus((100 * high).toFixed(1))})`;
}

/** `0.12 (0.10 – 0.14)` */
export function formatInterval({ value, low, high }: Interval): string {
  if (low === high) return formatNumber(value);
  return `${formatNumber(value)} (${formatNumber(low)} – ${formatNumber(high)})`;
}

/** `clipFraction` → `Clip fraction`; a number keeps its hyphen: `1-grams`. */
export function spellOut(name: string): string {
  const words = name
    .replace(/_+|(?<!\d)-+/g, " ")
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const minus = (text: string) => text.replace("-", "−");
