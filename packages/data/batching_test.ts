import { fold, key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { chunkStream, documentSegments, joinDocuments } from "./chunk.ts";
import { demonstrationRow, encodeDemonstrations, encodePrompts, encodeRankings } from "./encode.ts";
import { minibatches } from "./minibatches.ts";
import { pack } from "./pack.ts";
import { splitByGroup } from "./split.ts";
import { padRight, type Row, type TokenBatch } from "./token_batch.ts";

const rowsOf = (batch: TokenBatch, field: "ids" | "segments" | "positions" | "lossMask") =>
  Array.from({ length: batch.batch }, (_, i) =>
    Array.from(batch[field].slice(i * batch.time, (i + 1) * batch.time)),
  );

describe("padRight", () => {
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

describe("chunkStream", () => {
  it("ends documents with eos and cuts the stream", () => {
    const stream = joinDocuments([[1, 2], [3], [4, 5, 6]], 0);
    expect(Array.from(stream)).toEqual([1, 2, 0, 3, 0, 4, 5, 6, 0]);
    expect(chunkStream(stream, { length: 5 })).toEqual([
      [1, 2, 0, 3, 0],
      [4, 5, 6, 0],
    ]);
    expect(chunkStream(stream, { length: 4 })).toEqual([
      [1, 2, 0, 3],
      [0, 4, 5, 6],
    ]);
    expect(chunkStream([], { length: 4 })).toEqual([]);
    expect(() => chunkStream(stream, { length: 1 })).toThrow(RangeError);
  });

  it("gives each document a segment", () => {
    expect(Array.from(documentSegments([1, 2, 0, 3, 0], 0))).toEqual([1, 1, 1, 2, 2]);
  });
});

describe("minibatches", () => {
  it("holds every index once, in an order of the key", () => {
    const epoch = minibatches(key(1), 10, 4);
    expect(epoch.map(({ length }) => length)).toEqual([4, 4, 2]);
    expect(epoch.flatMap((batch) => Array.from(batch)).sort((a, b) => a - b)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
    expect(minibatches(key(1), 10, 4)).toEqual(epoch);
    expect(minibatches(fold(key(1), 1), 10, 4)).not.toEqual(epoch);
    expect(() => minibatches(key(1), 10, 0)).toThrow(RangeError);
  });
});

describe("encode", () => {
  const encoder = {
    encode: (text: string) => Array.from(text, (c) => c.charCodeAt(0)),
    specials: { eos: 0 },
  };
  const format = (prompt: string) => `${prompt}:`;

  it("formats prompts and ends responses with eos", () => {
    expect(encodePrompts(encoder, [{ id: "x", text: "a" }], { format })).toEqual([
      { id: "x", tokens: [97, 58] },
    ]);
    const demonstrations = [{ prompt: "a", response: "b" }];
    expect(encodeDemonstrations(encoder, demonstrations, { format })).toEqual([
      { prompt: [97, 58], response: [98, 0] },
    ]);
    const ranking = { prompt: "a", responses: ["b", ""], ranks: [1, 2] };
    expect(encodeRankings(encoder, [ranking])).toEqual([
      { prompt: [97], responses: [[98, 0], [0]], ranks: [1, 2] },
    ]);
  });

  it("counts the response and its eos in the loss", () => {
    expect(demonstrationRow({ prompt: [1, 2], response: [3, 0] })).toEqual({
      tokens: [1, 2, 3, 0],
      lossMask: [0, 0, 1, 1],
    });
  });
});

describe("splitByGroup", () => {
  const records = Array.from({ length: 100 }, (_, i) => ({ i, author: `author ${i % 17}` }));
  const options = {
    group: (record: { author: string }) => record.author,
    validation: 0.2,
    test: 0.1,
    key: key(3),
  };

  it("keeps a group together and gives each side its share", () => {
    const { train, validation, test } = splitByGroup(records, options);
    expect([...train, ...validation, ...test].map(({ i }) => i).sort((a, b) => a - b)).toEqual(
      records.map(({ i }) => i),
    );
    const sides = [train, validation, test].map((side) => new Set(side.map(options.group)));
    expect(sides.reduce((sum, { size }) => sum + size, 0)).toBe(17);
    expect(validation.length).toBeGreaterThanOrEqual(20);
    expect(validation.length).toBeLessThan(26);
    expect(test.length).toBeGreaterThanOrEqual(10);
    expect(test.length).toBeLessThan(16);
  });

  it("does not depend on the order of the records", () => {
    const reversed = splitByGroup([...records].reverse(), options);
    expect(reversed.validation.reverse()).toEqual(splitByGroup(records, options).validation);
  });

  it("refuses to leave nothing to train on", () => {
    expect(() => splitByGroup(records.slice(0, 1), options)).toThrow(
      "Cannot split: more groups are required, got 1",
    );
    expect(() => splitByGroup(records, { ...options, validation: 1 })).toThrow(
      "must be shares that add up to less than 1",
    );
  });
});
