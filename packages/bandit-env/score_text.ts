import type { Tokens } from "@rlhf/core/records";
import { scoreEach } from "./combine_scores.ts";
import type { Score } from "./score.ts";

/** A prompt and its response, decoded for whoever reads. */
export interface TextEpisode {
  readonly prompt: string;
  readonly response: string;
}

/**
 * The score of a function of text. `decode` should leave special tokens out; the text is only read, the policy goes
 * on from the tokens.
 */
export const scoreText = (decode: (tokens: Tokens) => string, f: (episode: TextEpisode) => number): Score =>
  scoreEach(({ prompt, response }) =>
    f({ prompt: decode(prompt.tokens), response: decode(response.tokens) }),
  );

/** What a response earns, or with a negative weight loses, by keeping a rule. */
export interface Rule {
  readonly weight: number;
  readonly holds: (episode: TextEpisode) => boolean;
}

/** The sum of the weights of the rules that a response keeps, as in rule-based rewards (Mu et al. 2024, arXiv:2411.01111). */
export const scoreByRules = (decode: (tokens: Tokens) => string, rules: ReadonlyArray<Rule>): Score =>
  scoreText(decode, (episode) =>
    rules.reduce((sum, { weight, holds }) => sum + (holds(episode) ? weight : 0), 0),
  );
