import { describe, expect, it } from "vitest";
import { chunkStream, documentSegments, joinDocuments } from "./chunk.ts";

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
