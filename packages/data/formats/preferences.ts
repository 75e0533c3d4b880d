import type { Ranking } from "@rlhf/core/records";
import type { Value } from "../_value.ts";
import { type Format, type FormatOptions, has } from "../format.ts";
import type { Message } from "../messages.ts";
import { messagesOf } from "./_chat.ts";

/** K responses in order of preference; rank 1 is best, equal ranks are a tie. */
export const ranked: Format = {
  name: "rankings",
  example: '{"prompt": …, "responses": …, "ranks": …}',
  recognizes: has("prompt", "responses", "ranks"),
  reads: {
    rankings: (row) => {
      const list = row.field("responses");
      const responses = list.items().map((response) => response.textOrEmpty());
      if (Array.isArray(list.found) && responses.length < 2) list.refuse("two responses or more");
      const ranks = row.field("ranks").items().map(rankOf);
      if (responses.length >= 2 && ranks.length !== responses.length) {
        row.field("ranks").refuse(`one rank for each of the ${responses.length} responses`);
      }
      return [{ prompt: row.field("prompt").text(), responses, ranks, ...labelerOf(row.field("labeler")) }];
    },
  },
};

/** `{prompt, chosen, rejected}`, each text or messages. */
export const pair: Format = {
  name: "pairs",
  example: '{"prompt": …, "chosen": …, "rejected": …}',
  recognizes: has("prompt", "chosen", "rejected"),
  reads: {
    rankings: (row, options) => {
      const [chosen, rejected] = [row.field("chosen"), row.field("rejected")];
      if (isMessages(chosen)) {
        const [prompt, better, worse] = splitPrompt(chosen, rejected, promptMessages(row.field("prompt")));
        return [preference(prompt, better, worse, options)];
      }
      const responses = [chosen.textOrEmpty(), rejected.textOrEmpty()];
      return [{ prompt: row.field("prompt").text(), responses, ranks: [1, 2] }];
    },
  },
};

/** `{chosen, rejected}` as whole conversations, of which the prompt is what both begin with. */
export const chatPair: Format = {
  name: "chat-pairs",
  example: '{"chosen": [{"role": …, "content": …}], "rejected": […]}',
  recognizes: (row) => Array.isArray(row.chosen) && "rejected" in row,
  reads: {
    rankings: (row, options) => {
      const [prompt, better, worse] = splitPrompt(row.field("chosen"), row.field("rejected"), []);
      return [preference(prompt, better, worse, options)];
    },
  },
};

/** ShareGPT's ranking form: the conversation so far, and two ways to go on. */
export const shareGptPair: Format = {
  name: "sharegpt-pairs",
  example: '{"conversations": [{"from": …, "value": …}], "chosen": {…}, "rejected": {…}}',
  recognizes: (row) => ("conversations" in row || "messages" in row) && "chosen" in row && "rejected" in row,
  reads: {
    rankings: (row, options) => {
      const before = row.field("conversations").exists ? row.field("conversations") : row.field("messages");
      const [better, worse] = [messagesOf(row.field("chosen")), messagesOf(row.field("rejected"))];
      return [preference(messagesOf(before), better, worse, options)];
    },
  },
};

/** OpenAI's preference format. */
export const openAiPreference: Format = {
  name: "openai-preferences",
  example: '{"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}',
  recognizes: has("input", "preferred_output", "non_preferred_output"),
  reads: {
    rankings: (row, options) => {
      const prompt = messagesOf(row.field("input").field("messages"));
      const [better, worse] = ["preferred_output", "non_preferred_output"].map((name) =>
        messagesOf(row.field(name)),
      );
      return [preference(prompt, better!, worse!, options)];
    },
  },
};

/** AlpacaEval's annotations: `preference` is 1 or 2 for the better output, 0 or 1.5 for a tie, between them a probability. */
export const alpacaEval: Format = {
  name: "alpaca-eval",
  example: '{"instruction": …, "output_1": …, "output_2": …, "preference": 1}',
  recognizes: has("instruction", "output_1", "output_2", "preference"),
  reads: {
    rankings: (row) => {
      const preferred = row.field("preference");
      const value = preferred.number();
      if (value !== 0 && !(value >= 1 && value <= 2)) preferred.refuse("0, or a number from 1 to 2");
      const isTie = value === 0 || value === 1.5;
      return [
        {
          prompt: row.field("instruction").text(),
          responses: [row.field("output_1").textOrEmpty(), row.field("output_2").textOrEmpty()],
          ranks: isTie ? [1, 1] : value < 1.5 ? [1, 2] : [2, 1],
          ...labelerOf(row.field("annotator")),
        },
      ];
    },
  },
};

/** Summaries of Reddit posts and news, two to a choice (Stiennon et al. 2020, arXiv:2009.01325); prompts as in its code. */
export const tldr: Format = {
  name: "tldr",
  example: '{"info": {"post": …}, "summaries": [{"text": …}, {"text": …}], "choice": 0}',
  recognizes: has("info", "summaries", "choice"),
  reads: {
    rankings: (row) => {
      const responses = row
        .field("summaries")
        .items()
        .map((summary) => summary.field("text").textOrEmpty());
      const prompt = summaryPrompt(row.field("info"));
      const ranks = ranksOfBest(row.field("choice"), responses.length);
      return [{ prompt, responses, ranks, ...labelerOf(row.field("worker")) }];
    },
  },
};

/** Comparisons of four continuations, of which one is best (Ziegler et al. 2019, arXiv:1909.08593); text or GPT-2 tokens. */
export const bestOfFour: Format = {
  name: "lm-human-preferences",
  example: '{"query": …, "sample0": …, "sample1": …, "sample2": …, "sample3": …, "best": 0}',
  recognizes: has("query", "sample0", "sample1", "best"),
  reads: {
    rankings: (row, options) => {
      const samples = ["sample0", "sample1", "sample2", "sample3"]
        .map((name) => row.field(name))
        .filter(({ exists }) => exists);
      const responses = samples.map((sample) => textOrTokens(sample, options));
      const ranks = ranksOfBest(row.field("best"), responses.length);
      return [{ prompt: textOrTokens(row.field("query"), options), responses, ranks }];
    },
  },
};

function rankOf(value: Value): number {
  const rank = value.integer();
  if (Number.isInteger(value.found) && rank < 1) value.refuse("a rank of 1 or more, where 1 is best");
  return rank;
}

function labelerOf(field: Value): Pick<Ranking, "labeler"> | Record<string, never> {
  return field.exists ? { labeler: field.text() } : {};
}

/** The best is preferred to all others, and nothing is known about these. */
function ranksOfBest(best: Value, count: number): Array<number> {
  const index = best.integer();
  if (!(index >= 0 && index < count)) best.refuse(`the number of a response, 0 to ${count - 1}`);
  return Array.from({ length: count }, (_, i) => (i === index ? 1 : 2));
}

function summaryPrompt(info: Value): string {
  if (info.field("article").exists) return `Article:\n${info.field("article").text()}\n\nTL;DR:`;
  const [subreddit, title] = ["subreddit", "title"].map((name) => info.field(name).textOrEmpty());
  return `SUBREDDIT: r/${subreddit}\n\nTITLE: ${title}\n\nPOST: ${info.field("post").text()}\n\nTL;DR:`;
}

function textOrTokens(value: Value, { decode }: FormatOptions): string {
  if (!Array.isArray(value.found)) return value.textOrEmpty();
  const tokens = value.items().map((token) => token.integer());
  if (decode !== undefined) return decode(tokens);
  value.refuse("text, or a tokenizer that these tokens are of");
  return "";
}

function isMessages(value: Value): boolean {
  return typeof value.found === "object" && value.exists;
}

function promptMessages(prompt: Value): ReadonlyArray<Message> {
  return typeof prompt.found === "string" ? [{ role: "user", content: prompt.text() }] : messagesOf(prompt);
}

type Split = readonly [
  prompt: ReadonlyArray<Message>,
  better: ReadonlyArray<Message>,
  worse: ReadonlyArray<Message>,
];

/** What both conversations begin with is the prompt; where they hold only responses it is what was given. */
function splitPrompt(chosen: Value, rejected: Value, given: ReadonlyArray<Message>): Split {
  const [better, worse] = [messagesOf(chosen), messagesOf(rejected)];
  const same = (i: number) => JSON.stringify(better[i]) === JSON.stringify(worse[i]);
  let shared = 0;
  while (shared < Math.min(better.length, worse.length) - 1 && same(shared)) shared++;
  if (shared === 0 && given.length === 0) rejected.refuse("the same first turn as in chosen");
  const prompt = shared === 0 ? given : better.slice(0, shared);
  return [prompt, better.slice(shared), worse.slice(shared)];
}

function preference(
  prompt: ReadonlyArray<Message>,
  better: ReadonlyArray<Message>,
  worse: ReadonlyArray<Message>,
  { rendering }: FormatOptions,
): Ranking {
  return {
    prompt: rendering.prompt(prompt),
    responses: [rendering.response(better, prompt), rendering.response(worse, prompt)],
    ranks: [1, 2],
  };
}
