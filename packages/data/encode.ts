import type {
  Demonstration,
  EncodedDemonstration,
  EncodedPrompt,
  EncodedRanking,
  Prompt,
  Ranking,
} from "@rlhf/core/records";
import type { Row } from "./token_batch.ts";

/** What encoding needs of a tokenizer. `Tokenizer` of `@rlhf/tokenizer` is one. */
export interface Encoder {
  readonly encode: (text: string) => ReadonlyArray<number>;
  readonly specials: { readonly eos: number };
}

export interface EncodeOptions {
  /** What the model reads for a prompt, such as `` (prompt) => `Q: ${prompt}\nA:` ``. By default the prompt itself. */
  readonly format?: (prompt: string) => string;
}

export function encodePrompts(
  encoder: Encoder,
  prompts: ReadonlyArray<Prompt>,
  { format = unchanged }: EncodeOptions = {},
): Array<EncodedPrompt> {
  return prompts.map(({ id, text }) => ({ id, tokens: encoder.encode(format(text)) }));
}

/**
 * Prompt and response are encoded apart, so the prompt has the tokens that it will have in generation; the response
 * ends with end-of-sequence.
 */
export function encodeDemonstrations(
  encoder: Encoder,
  demonstrations: ReadonlyArray<Demonstration>,
  { format = unchanged }: EncodeOptions = {},
): Array<EncodedDemonstration> {
  return demonstrations.map(({ prompt, response }) => ({
    prompt: encoder.encode(format(prompt)),
    response: encodeResponse(encoder, response),
  }));
}

/** Every response ends with end-of-sequence. */
export function encodeRankings(
  encoder: Encoder,
  rankings: ReadonlyArray<Ranking>,
  { format = unchanged }: EncodeOptions = {},
): Array<EncodedRanking> {
  return rankings.map(({ prompt, responses, ranks }) => ({
    prompt: encoder.encode(format(prompt)),
    responses: responses.map((response) => encodeResponse(encoder, response)),
    ranks,
  }));
}

/** A demonstration as a training row: the loss counts the response with its end-of-sequence, not the prompt. */
export function demonstrationRow({ prompt, response }: EncodedDemonstration): Row {
  return {
    tokens: [...prompt, ...response],
    lossMask: [...prompt.map(() => 0), ...response.map(() => 1)],
  };
}

function encodeResponse({ encode, specials }: Encoder, response: string): Array<number> {
  return [...encode(response), specials.eos];
}

function unchanged(prompt: string): string {
  return prompt;
}
