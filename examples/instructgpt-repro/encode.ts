import { type EncodedDemonstration, type EncodedPrompt, type EncodedRanking, InvalidInput } from "@rlhf/core";
import type { Tokenizer } from "@rlhf/tokenizer";
import { Effect } from "effect";
import type { Config } from "./config.ts";
import type { PipelineData } from "./data.ts";
import type { TaskPrompt } from "./tasks.ts";

/** A prompt in tokens that still knows what it asks for, so that a judge can read the answer. */
export interface Asked extends EncodedPrompt {
  readonly prompt: TaskPrompt;
}

export interface EncodedData {
  /** One stream, every document followed by end-of-sequence. */
  readonly corpus: { readonly train: Int32Array; readonly validation: Int32Array };
  readonly demonstrations: ReadonlyArray<EncodedDemonstration>;
  readonly validation: ReadonlyArray<EncodedDemonstration>;
  readonly prompts: ReadonlyArray<Asked>;
  readonly evaluation: ReadonlyArray<Asked>;
  readonly rankings: ReadonlyArray<EncodedRanking>;
}

/** Brings all data into tokens, and refuses, all at once, what does not fit into the model's context. */
export const encodeData = Effect.fn("encodeData")(function* (
  data: PipelineData,
  tokenizer: Tokenizer,
  config: Config,
) {
  const { contextLength } = config.model;
  const { maxNewTokens } = config.ppo;
  const { eos } = tokenizer.specials;
  const answer = (text: string) => [...tokenizer.encode(text), eos];
  const stream = (documents: ReadonlyArray<string>) => Int32Array.from(documents.flatMap(answer));
  const demonstration = (one: {
    readonly prompt: string;
    readonly response: string;
  }): EncodedDemonstration => ({
    prompt: tokenizer.encode(one.prompt),
    response: answer(one.response),
  });
  const asked = (prompt: TaskPrompt): Asked => ({
    id: prompt.id,
    tokens: tokenizer.encode(prompt.text),
    prompt,
  });

  // The user hears of a row of their own that is too long; WordNet has enough others.
  const fits = ({ prompt, response }: EncodedDemonstration) =>
    data.own.demonstrations || prompt.length + response.length <= contextLength;

  const encoded: EncodedData = {
    corpus: { train: stream(data.corpus.train), validation: stream(data.corpus.validation) },
    demonstrations: data.demonstrations.map(demonstration).filter(fits),
    validation: data.validation.map(demonstration).filter(fits),
    prompts: data.prompts.map(asked),
    evaluation: data.evaluation.map(asked),
    rankings: data.rankings.map(({ prompt, responses, ranks }) => ({
      prompt: tokenizer.encode(prompt),
      responses: responses.map(answer),
      ranks,
    })),
  };
  const lengths = [
    ...[...encoded.prompts, ...encoded.evaluation].map(({ tokens, prompt }) => ({
      where: `prompt ${shown(prompt.text)}`,
      length: tokens.length + maxNewTokens,
      what: `${tokens.length} tokens and --ppo.maxNewTokens ${maxNewTokens} for the answer`,
    })),
    ...[...encoded.demonstrations, ...encoded.validation].map(({ prompt, response }) => {
      const length = prompt.length + response.length;
      return { where: `demonstration ${shown(tokenizer.decode(prompt))}`, length, what: `${length} tokens` };
    }),
    ...encoded.rankings.map(({ prompt, responses }) => {
      const length = prompt.length + Math.max(...responses.map((response) => response.length));
      return { where: `comparison ${shown(tokenizer.decode(prompt))}`, length, what: `${length} tokens` };
    }),
  ];
  const problems = lengths
    .filter(({ length }) => length > contextLength)
    .map(({ where, what }) => ({
      where,
      problem: `${what} do not fit into the model's context of ${contextLength}`,
      remedy: "Raise --model.contextLength or take the row out",
    }));
  if (encoded.corpus.validation.length < 2) {
    const problem = "the text has a single passage, so none can be held out to measure with";
    problems.push({
      where: "--corpus",
      problem,
      remedy: "Give text of several documents, paragraphs or lines",
    });
  }
  if (problems.length > 0) return yield* new InvalidInput({ problems });
  return encoded;
});

function shown(text: string): string {
  const line = JSON.stringify(text.trim());
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}
