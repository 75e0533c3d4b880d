import * as Schema from "effect/Schema";

/**
 * Before its first update a policy must give the sampled tokens the log-probabilities recorded for them. When it
 * does not, log-probabilities and episodes do not belong together (other weights, dropout, another temperature, rows
 * out of order) and every later clip is wrong.
 */
export class RatioNotOne extends Schema.TaggedError<RatioNotOne>()("RatioNotOne", {
  stage: Schema.String,
  iteration: Schema.Int,
  deviation: Schema.Number,
}) {
  override get message(): string {
    return `${this.stage} iteration ${this.iteration}: before the first update π/π_old must be 1 at every token, but is off by up to ${this.deviation}`;
  }
}
