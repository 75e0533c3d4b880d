import * as Schema from "effect/Schema";

/** A question or instruction in text, before any tokenizer has seen it. */
export const Prompt = Schema.Struct({ id: Schema.String, text: Schema.String });
export type Prompt = typeof Prompt.Type;

/** A prompt with the response a person (or a data set) would like to see. */
export const Demonstration = Schema.Struct({ prompt: Schema.String, response: Schema.String });
export type Demonstration = typeof Demonstration.Type;

/**
 * K responses to one prompt in order of preference: `ranks[i]` is the rank of `responses[i]`, 1 is best, equal
 * ranks are a tie.
 */
export const Ranking = Schema.Struct({
  prompt: Schema.String,
  responses: Schema.Array(Schema.String),
  ranks: Schema.Array(Schema.Int),
  labeler: Schema.optionalKey(Schema.String),
}).check(
  Schema.makeFilter(
    (ranking) =>
      ranking.responses.length === ranking.ranks.length ||
      `one rank per response is required, got ${ranking.ranks.length} ranks for ${ranking.responses.length} responses`,
  ),
);
export type Ranking = typeof Ranking.Type;

/** A single response to a prompt that somebody called good or bad, as KTO learns from (Ethayarajh et al. 2024). */
export const LabeledResponse = Schema.Struct({
  prompt: Schema.String,
  response: Schema.String,
  desirable: Schema.Boolean,
});
export type LabeledResponse = typeof LabeledResponse.Type;

/** Token ids. Between rollout, reward and update a response stays in this form: it is never decoded and re-encoded. */
export type Tokens = ReadonlyArray<number>;

export interface EncodedPrompt {
  readonly id: string;
  readonly tokens: Tokens;
}

/** The response ends with the end-of-sequence token. */
export interface EncodedDemonstration {
  readonly prompt: Tokens;
  readonly response: Tokens;
}

/** A {@link Ranking} in tokens. */
export interface EncodedRanking {
  readonly prompt: Tokens;
  readonly responses: ReadonlyArray<Tokens>;
  readonly ranks: ReadonlyArray<number>;
}

/** What a policy wrote. `finished` says that it ended with end-of-sequence, which is then the last of `tokens`. */
export interface Response {
  readonly tokens: Tokens;
  readonly finished: boolean;
}
