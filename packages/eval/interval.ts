import * as Schema from "effect/Schema";

/** An estimate with the ends of its 95 % interval. */
export const Interval = Schema.Struct({ value: Schema.Number, low: Schema.Number, high: Schema.Number });
export type Interval = typeof Interval.Type;
