import { describe, expect, it } from "vitest";
import { agreement, agreementMatrix } from "./agreement.ts";

describe("agreement", () => {
  it("is the share of pairs in the same order; a tie on either side is counted apart", () => {
    expect(agreement([1, 2, 3], [1, 2, 3])).toEqual({ share: 1, compared: 3, tied: 0 });
    expect(agreement([1, 2, 3], [3, 2, 1])).toEqual({ share: 0, compared: 3, tied: 0 });
    expect(agreement([1, 2, 3], [1, 1, 2])).toEqual({ share: 1, compared: 2, tied: 1 });
    expect(agreement([1, 1], [2, 1])).toEqual({ share: Number.NaN, compared: 0, tied: 1 });
  });

  it("refuses rankings of different lengths", () => {
    expect(() => agreement([1, 2], [1, 2, 3])).toThrow(RangeError);
  });
});

describe("agreementMatrix", () => {
  it("compares labellers on the prompts that they share", () => {
    const of = (prompt: string, labeler: string, ranks: Array<number>) => ({
      prompt,
      labeler,
      ranks,
      responses: ["x", "y", "z"],
    });
    const { labelers, between, overall } = agreementMatrix([
      of("p", "Bo", [1, 2, 3]),
      of("p", "Ada", [1, 2, 3]),
      of("q", "Bo", [1, 2, 3]),
      of("q", "Ada", [2, 1, 3]),
      of("q", "Cy", [2, 1, 3]),
      of("r", "Cy", [1, 2, 3]),
    ]);
    expect(labelers).toEqual(["Ada", "Bo", "Cy"]);
    expect(between[0]![1]).toEqual({ share: 5 / 6, compared: 6, tied: 0 });
    expect(between[1]![0]).toEqual(between[0]![1]);
    expect(between[0]![2]!.share).toBe(1);
    expect(between[0]![0]!.compared).toBe(0);
    expect(overall).toEqual({ share: 10 / 12, compared: 12, tied: 0 });
  });
});
