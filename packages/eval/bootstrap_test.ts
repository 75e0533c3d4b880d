import { fold, key, normals } from "@rlhf/core/random";
import { describe, expect, it } from "vitest";
import { bootstrap, clusterBy } from "./bootstrap.ts";

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length;
const single = (values: Iterable<number>) => Array.from(values, (value) => [value]);

describe("bootstrap", () => {
  it("gives the same interval for the same key", () => {
    const clusters = single(normals(key(1), 50));
    const once = bootstrap({ clusters, statistic: mean, key: key(7) });
    expect(bootstrap({ clusters, statistic: mean, key: key(7) })).toEqual(once);
    expect(bootstrap({ clusters, statistic: mean, key: key(8) })).not.toEqual(once);
  });

  it("comes close to the interval of the normal distribution for a mean", () => {
    const values = normals(key(2), 400);
    const { value, low, high } = bootstrap({
      clusters: single(values),
      statistic: mean,
      key: key(3),
      resamples: 1000,
    });
    const deviation = Math.sqrt(mean(Array.from(values, (x) => (x - value) ** 2)));
    const expected = (1.96 * deviation) / 20;
    expect(Math.abs(value - low - expected)).toBeLessThan(0.1 * expected);
    expect(Math.abs(high - value - expected)).toBeLessThan(0.1 * expected);
  });

  it("covers the truth about 95 times in 100", () => {
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const clusters = single(normals(fold(key(4), trial), 60));
      const { low, high } = bootstrap({
        clusters,
        statistic: mean,
        key: fold(key(5), trial),
        resamples: 200,
      });
      if (low <= 0 && 0 <= high) covered++;
    }
    expect(covered).toBeGreaterThan(178);
    expect(covered).toBeLessThan(199);
  });

  it("is wider when items of a cluster are copies of each other", () => {
    const values = Array.from(normals(key(6), 40));
    const pairs = values.map((value) => [value, value]);
    const width = (clusters: ReadonlyArray<ReadonlyArray<number>>) => {
      const { low, high } = bootstrap({ clusters, statistic: mean, key: key(1) });
      return high - low;
    };
    expect(width(pairs)).toBeGreaterThan(1.25 * width(single(pairs.flat())));
  });

  it("refuses an empty sample", () => {
    expect(() => bootstrap({ clusters: [], statistic: mean, key: key(1) })).toThrow(RangeError);
  });
});

it("clusterBy keeps the order in which names appear", () => {
  expect(clusterBy(["ba", "ab", "bc"], (word) => word.charAt(0))).toEqual([["ba", "bc"], ["ab"]]);
});
