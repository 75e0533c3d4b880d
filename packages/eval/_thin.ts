/** A point of a curve; `low` and `high` bound the values that were averaged into `y`. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly low: number;
  readonly high: number;
}

/** At most `limit` points: neighbours are averaged in equal groups, which keep their extremes. Points must be in order. */
export function thin(points: ReadonlyArray<readonly [number, number]>, limit: number): Array<CurvePoint> {
  const groups = Math.min(points.length, limit);
  return Array.from({ length: groups }, (_, group) => {
    const start = Math.floor((group * points.length) / groups);
    const end = Math.floor(((group + 1) * points.length) / groups);
    let [x, y, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let i = start; i < end; i++) {
      const [pointX, pointY] = points[i]!;
      x += pointX / (end - start);
      y += pointY / (end - start);
      low = Math.min(low, pointY);
      high = Math.max(high, pointY);
    }
    return { x, y: five(y), low: five(low), high: five(high) };
  });
}

/** Five digits are more than a chart can show, and keep the page small. */
const five = (value: number) => Number(value.toPrecision(5));
