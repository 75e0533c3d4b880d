import {
  type EncodedDemonstration,
  type EncodedPrompt,
  type EncodedRanking,
  InvalidInput,
  type Problem,
  type Ranking,
} from "@rlhf/core";
import type { Tokenizer } from "@rlhf/tokenizer";
import { Effect } from "effect";
import type { Config } from "./config.ts";
import type { PipelineData } from "./data.ts";
import type { TaskPrompt } from "./tasks.ts";

/** A prompt in tokens that still knows what it asks for, so that a judge can read the answer. */
export interface Asked extends EncodedPrompt {
  readonly prompt: TaskPrompt;
}

/** People's ranking in tokens, with its text. */
export interface OwnRanking extends EncodedRanking {
  readonly ranking: Ranking;
}

export interface EncodedData {
  /** One stream, every document followed by end-of-sequence. */
  readonly corpus: { readonly train: Int32Array; readonly validation: Int32Array };
  readonly demonstrations: ReadonlyArray<EncodedDemonstration>;
  readonly validation: ReadonlyArray<EncodedDemonstration>;
  readonly prompts: ReadonlyArray<Asked>;
  readonly evaluation: ReadonlyArray<Asked>;
  readonly rankings: ReadonlyArray<OwnRanking>;
  /** What was too long, such as "3 of 1,000 comparisons". */
  readonly leftOut: ReadonlyArray<string>;
}

/** The share of the user's own rows that may be too long for the context. */
const mostLeftOut = 0.1;

/**
 * Brings all data into tokens, without the rows that do not fit into the model's context. Where these are more than a few, they
 * are refused, all at once.
 */
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

  const problems: Array<Problem> = [];
  const leftOut: Array<string> = [];
  const fitting = <T>(
    kind: string,
    rows: ReadonlyArray<T>,
    sizeOf: (row: T) => { readonly length: number; readonly text: () => string; readonly more?: string },
  ): ReadonlyArray<T> => {
    const long = rows.map(sizeOf).filter(({ length }) => length > contextLength);
    if (long.length > mostLeftOut * rows.length) {
      const remedy =
        config.base === null
          ? "Raise --model.contextLength or take the row out"
          : "Take the row out, or start from a checkpoint with a longer context";
      for (const { length, text, more = "" } of long) {
        const problem = `${length} tokens${more} do not fit into the model's context of ${contextLength}`;
        problems.push({ where: `${kind} ${shown(text())}`, problem, remedy });
      }
    } else if (long.length > 0) {
      leftOut.push(`${long.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${kind}s`);
    }
    return rows.filter((row) => sizeOf(row).length <= contextLength);
  };
  const sizeOfPrompt = ({ tokens, prompt }: Asked) => ({
    length: tokens.length + maxNewTokens,
    text: () => prompt.text,
    more: `, of which --ppo.maxNewTokens ${maxNewTokens} are for the answer,`,
  });
  const sizeOfDemonstration = ({ prompt, response }: EncodedDemonstration) => ({
    length: prompt.length + response.length,
    text: () => tokenizer.decode(prompt),
  });
  const sizeOfRanking = ({ prompt, responses, ranking }: OwnRanking) => ({
    length: prompt.length + Math.max(...responses.map((response) => response.length)),
    text: () => ranking.prompt,
  });
  const inTokens = (rows: PipelineData["demonstrations"]) => {
    const rowsInTokens = rows.map(demonstration);
    // The user hears of a row of their own that is too long; WordNet has enough others.
    return data.own.demonstrations
      ? fitting("demonstration", rowsInTokens, sizeOfDemonstration)
      : rowsInTokens.filter((row) => sizeOfDemonstration(row).length <= contextLength);
  };
  const encoded: EncodedData = {
    corpus: { train: stream(data.corpus.train), validation: stream(data.corpus.validation) },
    demonstrations: inTokens(data.demonstrations),
    validation: inTokens(data.validation),
    prompts: fitting("prompt", data.prompts.map(asked), sizeOfPrompt),
    evaluation: fitting("prompt", data.evaluation.map(asked), sizeOfPrompt),
    rankings: fitting(
      "comparison",
      data.rankings.map((ranking) => ({
        prompt: tokenizer.encode(ranking.prompt),
        responses: ranking.responses.map(answer),
        ranks: ranking.ranks,
        ranking,
      })),
      sizeOfRanking,
    ),
    leftOut,
  };
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
