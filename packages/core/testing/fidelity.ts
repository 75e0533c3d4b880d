/** What tests against running references share: the bound on the error, and a note of it for docs/fidelity.md. */
import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import { expect } from "vitest";

/** The header of a golden file. */
export interface GoldenSource {
  readonly script: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** One measurement, as `scripts/fidelity.ts` gathers them. */
export interface FidelityNote {
  readonly formula: string;
  /** Missing where two ways of computing are compared that are both ours. */
  readonly source?: GoldenSource;
  readonly error: number;
  readonly limit: number;
  readonly test: string;
}

/** ‖found − expected‖ / ‖expected‖, without the division where every expected number is 0; infinite for lists of two lengths. */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  const numbers = Array.from(expected);
  return Math.hypot(...numbers.map((value, i) => value - found[i]!)) / (Math.hypot(...numbers) || 1);
}

/** How many entries of two lists differ. */
export function differences(a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): number {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => a[i] !== b[i]).filter(Boolean).length;
}

/**
 * Asserts that an error lies below its limit; a limit of 0 asks for equality. `scripts/fidelity.ts` has these errors
 * written to a file.
 */
export function expectFidelity(note: Omit<FidelityNote, "test">): void {
  const { formula, error, limit } = note;
  const notes = process.env.RLHF_FIDELITY_NOTES;
  if (notes !== undefined) {
    const test = relative(process.cwd(), expect.getState().testPath ?? "");
    appendFileSync(notes, `${JSON.stringify({ ...note, test } satisfies FidelityNote)}\n`);
  }
  if (limit === 0) expect(error, formula).toBe(0);
  else expect(error, formula).toBeLessThan(limit);
}
