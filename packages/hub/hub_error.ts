import * as Schema from "effect/Schema";

/** Something on the Hub could not be had. */
export class HubError extends Schema.TaggedError<HubError>()("HubError", {
  /** `owner/name@revision`, and the file */
  where: Schema.String,
  /**
   * `NotFound`: no such repository or revision; `Refused`: it is private or gated; `Unreachable`: no or a broken
   * connection, after all attempts; `Corrupt`: not the bytes, or not the answer, that the Hub is to give; `Offline`:
   * not in the cache, and the Hub must not be asked.
   */
  reason: Schema.Literals(["NotFound", "Refused", "Unreachable", "Corrupt", "Offline"]),
  problem: Schema.String,
  remedy: Schema.String,
}) {
  override get message(): string {
    return `${this.where}: ${this.problem}\n    ${this.remedy}`;
  }
}
