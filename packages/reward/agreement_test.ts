import { describe, expect, it } from "vitest";
import { pairwiseAccuracy } from "./accuracy.ts";
import { calibration } from "./calibration.ts";
import { decidedPairs } from "./decided_pairs.ts";

describe("decidedPairs", () => {
  it("takes every pair once, the preferred response first, without ties", () => {
    expect(decidedPairs([2, 1, 2, 3])).toEqual([
      [1, 0],
      [0, 3],
      [1, 2],
      [1, 3],
      [2, 3],
    ]);
    expect(decidedPairs([1, 2, 3, 4, 5, 6, 7, 8, 9])).toHaveLength(36);
    expect(decidedPairs([1, 1])).toEqual([]);
  });
});

describe("pairwiseAccuracy", () => {
  it("counts agreements in total and by labeler, equal scores half", () => {
    const rankings = [
      { ranks: [1, 2, 3], labeler: "Ada" },
      { ranks: [1, 2], labeler: "Bo" },
      { ranks: [1, 1, 2], labeler: "Bo" },
      { ranks: [2, 1] },
    ];
    const scores = [
      [3, 2, 1],
      [0, 1],
      [5, 1, 1],
      [1, 2],
    ];
    expect(pairwiseAccuracy({ rankings, scores })).toEqual({
      accuracy: 5.5 / 7,
      pairs: 7,
      byLabeler: { Ada: { accuracy: 1, pairs: 3 }, Bo: { accuracy: 0.5, pairs: 3 } },
    });
  });

  it("refuses scores that do not belong to the rankings", () => {
    expect(() => pairwiseAccuracy({ rankings: [{ ranks: [1, 2] }], scores: [] })).toThrow("1 rows of scores");
    expect(() => pairwiseAccuracy({ rankings: [{ ranks: [1, 2] }], scores: [[1]] })).toThrow(
      "needs 2 scores, got 1",
    );
  });
});

describe("calibration", () => {
  const difference = Math.log(3); // σ(log 3) = 0.75

  it("is perfect when 3 of 4 pairs agree that are predicted with 75 %", () => {
    const rankings = [
      [1, 2],
      [1, 2],
      [1, 2],
      [2, 1],
    ].map((ranks) => ({ ranks }));
    const { bins, expectedCalibrationError } = calibration({
      rankings,
      scores: rankings.map(() => [difference, 0]),
      bins: 5,
    });
    expect(expectedCalibrationError).toBeCloseTo(0, 12);
    expect(bins).toEqual([
      { from: 0.7, to: 0.8, pairs: 4, predicted: expect.closeTo(0.75, 12), observed: 0.75 },
    ]);
  });

  it("does not depend on which response of a pair comes first", () => {
    const forward = calibration({
      rankings: [{ ranks: [1, 2] }, { ranks: [2, 1] }],
      scores: [
        [2, 1],
        [0.5, 0],
      ],
    });
    const backward = calibration({
      rankings: [{ ranks: [2, 1] }, { ranks: [1, 2] }],
      scores: [
        [1, 2],
        [0, 0.5],
      ],
    });
    expect(backward).toEqual(forward);
  });

  it("shows overconfidence: certain of every pair, right on half of them", () => {
    const rankings = [{ ranks: [1, 2] }, { ranks: [2, 1] }];
    const { expectedCalibrationError } = calibration({
      rankings,
      scores: [
        [50, 0],
        [50, 0],
      ],
    });
    expect(expectedCalibrationError).toBeCloseTo(0.5, 12);
  });
});
