import type { Key } from "@rlhf/core/random";
import { fold, integers } from "@rlhf/core/random";
import type { Interval } from "./interval.ts";

/**
 * 95 % percentile bootstrap interval of a statistic (Efron 1979).
 *
 * Whole clusters are drawn with replacement. Give the answers to one prompt as one cluster: answers to the same
 * prompt are not independent, and drawing them one by one would make the interval too narrow.
 *
 * @param clusters items that belong together, `[cluster][item]`
 * @param statistic a number from the pooled items of a resample
 * @param resamples how many samples of the clusters are drawn
 */
export function bootstrap<Item>(options: {
  readonly clusters: ReadonlyArray<ReadonlyArray<Item>>;
  readonly statistic: (items: ReadonlyArray<Item>) => number;
  readonly key: Key;
  readonly resamples?: number;
}): Interval {
  const { clusters, statistic, resamples = 1000 } = options;
  if (clusters.length === 0) {
    throw new RangeError("Cannot bootstrap: at least one cluster is required, got none");
  }
  const value = statistic(clusters.flat());
  const draws = new Float64Array(resamples);
  for (let draw = 0; draw < resamples; draw++) {
    const picked = integers(fold(options.key, draw), clusters.length, clusters.length);
    draws[draw] = statistic(Array.from(picked, (cluster) => clusters[cluster]!).flat());
  }
  draws.sort();
  return { value, low: quantile(draws, 0.025), high: quantile(draws, 0.975) };
}

/** Items with the same name form one cluster, in order of first appearance. */
export function clusterBy<Item>(items: Iterable<Item>, name: (item: Item) => string): Array<Array<Item>> {
  const clusters = new Map<string, Array<Item>>();
  for (const item of items) {
    const cluster = clusters.get(name(item));
    if (cluster) cluster.push(item);
    else clusters.set(name(item), [item]);
  }
  return [...clusters.values()];
}

/** The `share` quantile of sorted numbers, interpolated linearly between neighbours. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}
