import { describe, expect, it } from "vitest";
import { pack } from "./pack.ts";
import type { Row, TokenBatch } from "./token_batch.ts";

const rowsOf = (batch: TokenBatch, field: "ids" | "segments" | "positions" | "lossMask") =>
  Array.from({ length: batch.batch }, (_, i) =>
    Array.from(batch[field].slice(i * batch.time, (i + 1) * batch.time)),
  );

describe("pack", () => {
  const rows: ReadonlyArray<Row> = [5, 3, 6, 2, 4, 8].map((length, i) => ({
    tokens: Array.from({ length }, () => i + 1),
  }));

  it("puts each sequence into the first row with room, as a segment of its own", () => {
    const [batch] = pack(rows, { length: 8, padId: 0 });
    expect(rowsOf(batch!, "ids")).toEqual([
      [1, 1, 1, 1, 1, 2, 2, 2],
      [3, 3, 3, 3, 3, 3, 4, 4],
      [5, 5, 5, 5, 0, 0, 0, 0],
      [6, 6, 6, 6, 6, 6, 6, 6],
    ]);
    expect(rowsOf(batch!, "segments").slice(0, 3)).toEqual([
      [1, 1, 1, 1, 1, 2, 2, 2],
      [1, 1, 1, 1, 1, 1, 2, 2],
      [1, 1, 1, 1, 0, 0, 0, 0],
    ]);
    expect(rowsOf(batch!, "positions")[0]).toEqual([0, 1, 2, 3, 4, 0, 1, 2]);
    expect(rowsOf(batch!, "lossMask")[0]).toEqual([0, 1, 1, 1, 1, 0, 1, 1]);
  });

  it("keeps every token and every loss weight but that of a first token", () => {
    const masked = rows.map(({ tokens }) => ({ tokens, lossMask: Array.from(tokens, () => 1) }));
    const batches = pack(masked, { length: 10, padId: 0, rowsPerBatch: 2 });
    expect(batches.map(({ batch }) => batch)).toEqual([2, 1]);
    const count = (field: "segments" | "lossMask") =>
      batches.flatMap((batch) => rowsOf(batch, field).flat()).filter((value) => value > 0).length;
    expect(count("segments")).toBe(28);
    expect(count("lossMask")).toBe(28 - rows.length);
  });

  it("shortens rows that are not full, and refuses sequences that do not fit", () => {
    expect(pack([{ tokens: [1, 2, 3] }], { length: 100, padId: 0 })[0]!.time).toBe(8);
    expect(pack([], { length: 8, padId: 0 })).toEqual([]);
    expect(() => pack(rows, { length: 7, padId: 0 })).toThrow(
      "Cannot pack rows: they must have at most 7 tokens, got 8",
    );
  });
});
