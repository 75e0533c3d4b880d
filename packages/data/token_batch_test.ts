import { describe, expect, it } from "vitest";
import { padRight, type TokenBatch } from "./token_batch.ts";

const rowsOf = (batch: TokenBatch, field: "ids" | "segments" | "positions" | "lossMask") =>
  Array.from({ length: batch.batch }, (_, i) =>
    Array.from(batch[field].slice(i * batch.time, (i + 1) * batch.time)),
  );

describe("padRight", () => {
  it("does not outgrow a context that is no multiple", () => {
    const row = (length: number) => ({ tokens: new Array<number>(length).fill(1) });
    const timeOf = (length: number) => padRight([row(length)], { padId: 0, atMost: 13 }).time;
    expect([timeOf(3), timeOf(9), timeOf(13)]).toEqual([8, 13, 13]);
    expect(() => timeOf(14)).toThrow("at most 13 tokens, got 14");
  });

  it("pads to a multiple and says what is padding", () => {
    const batch = padRight([{ tokens: [5, 6, 7] }, { tokens: [8], lossMask: [1] }], {
      padId: 9,
      multipleOf: 4,
    });
    expect([batch.batch, batch.time]).toEqual([2, 4]);
    expect(rowsOf(batch, "ids")).toEqual([
      [5, 6, 7, 9],
      [8, 9, 9, 9],
    ]);
    expect(rowsOf(batch, "segments")).toEqual([
      [1, 1, 1, 0],
      [1, 0, 0, 0],
    ]);
    expect(rowsOf(batch, "positions")).toEqual([
      [0, 1, 2, 0],
      [0, 0, 0, 0],
    ]);
    expect(rowsOf(batch, "lossMask")).toEqual([
      [0, 1, 1, 0],
      [1, 0, 0, 0],
    ]);
  });

  it("restarts positions in every segment and counts no segment's first token", () => {
    const batch = padRight([{ tokens: [1, 2, 3, 4], segments: [1, 1, 2, 2] }], { padId: 0, length: 5 });
    expect(rowsOf(batch, "positions")).toEqual([[0, 1, 0, 1, 0]]);
    expect(rowsOf(batch, "lossMask")).toEqual([[0, 1, 0, 1, 0]]);
  });

  it("refuses rows that do not fit or masks that do not match", () => {
    expect(() => padRight([], { padId: 0 })).toThrow("Cannot pad rows: at least one is required, got none");
    expect(() => padRight([{ tokens: [1, 2, 3] }], { padId: 0, length: 2 })).toThrow(
      "at most 2 tokens, got 3",
    );
    expect(() => padRight([{ tokens: [1, 2], lossMask: [1] }], { padId: 0 })).toThrow(
      "Cannot pad rows: lossMask must match tokens [2], got [1]",
    );
  });
});
