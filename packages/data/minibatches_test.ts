import { fold, key } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { minibatches } from "./minibatches.ts";

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
