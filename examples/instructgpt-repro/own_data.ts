import { type Demonstration, type Key, type Ranking, shuffled } from "@rlhf/core";
import { separator, type TaskPrompt } from "./tasks.ts";

/** The user's own rows, in one form, with prompts that training never sees. */
export interface OwnRows {
  readonly demonstrations: ReadonlyArray<Demonstration> | undefined;
  readonly validation: ReadonlyArray<Demonstration> | undefined;
  readonly rankings: ReadonlyArray<Ranking> | undefined;
  readonly prompts: ReadonlyArray<TaskPrompt>;
  readonly evaluation: ReadonlyArray<TaskPrompt>;
}

const heldOutShare = 0.1;
const [human, assistant] = ["\n\nHuman: ", "\n\nAssistant:"];

/**
 * Prompts for PPO are those of the demonstrations and of the comparisons; of either kind a tenth is held out, but no more
 * than `mostHeldOut`.
 */
export function ownRows(
  given: {
    readonly demonstrations: ReadonlyArray<Demonstration> | undefined;
    readonly rankings: ReadonlyArray<Ranking> | undefined;
  },
  mostHeldOut: number,
  key: Key,
): OwnRows {
  const { demonstrations, rankings } = inOneForm(given);
  const kinds = [demonstrations, rankings].map((rows = []) =>
    split([...new Set(rows.map(({ prompt }) => prompt))], { share: heldOutShare, most: mostHeldOut }, key),
  );
  const heldOut = new Set(kinds.flatMap(({ validation }) => validation));
  const ask = (prompts: ReadonlyArray<string>) =>
    [...new Set(prompts)].map((text, i): TaskPrompt => ({ id: `own-${i}`, text, task: { kind: "own" } }));
  return {
    demonstrations: demonstrations?.filter(({ prompt }) => !heldOut.has(prompt)),
    validation: demonstrations?.filter(({ prompt }) => heldOut.has(prompt)),
    rankings,
    prompts: ask(kinds.flatMap(({ train }) => train.filter((prompt) => !heldOut.has(prompt)))),
    evaluation: ask([...heldOut]),
  };
}

/**
 * Prompts of all kinds end alike, so that the model knows where its turn begins: all become transcripts where one of them is,
 * as in HH-RLHF, and else end with the separator.
 */
function inOneForm({ demonstrations, rankings }: Parameters<typeof ownRows>[0]) {
  const rows: ReadonlyArray<{ readonly prompt: string }> = [...(demonstrations ?? []), ...(rankings ?? [])];
  const form = rows.some(({ prompt }) => isTranscript(prompt)) ? transcript : separated;
  return {
    demonstrations: demonstrations?.map(({ prompt, response }) => ({
      prompt: form.prompt(prompt),
      response: form.response(response, prompt),
    })),
    rankings: rankings?.map((ranking) => ({
      ...ranking,
      prompt: form.prompt(ranking.prompt),
      responses: ranking.responses.map((response) => form.response(response, ranking.prompt)),
    })),
  };
}

const separated = {
  prompt: (prompt: string) => (prompt.endsWith(separator) ? prompt : prompt + separator),
  response: (response: string, _: string) => response,
};

const transcript = {
  prompt: (prompt: string) => (isTranscript(prompt) ? prompt : human + prompt.trim() + assistant),
  response: (response: string, prompt: string) => (isTranscript(prompt) ? response : ` ${response.trim()}`),
};

function isTranscript(prompt: string): boolean {
  return prompt.endsWith(assistant);
}

/** A random part of the items is held out, and never all of them. */
export function split<T>(
  items: ReadonlyArray<T>,
  { share, most = Number.POSITIVE_INFINITY }: { readonly share: number; readonly most?: number },
  key: Key,
) {
  const order = shuffled(key, items);
  const validation = Math.min(Math.ceil(items.length * share), most, Math.max(0, items.length - 1));
  return { train: order.slice(validation), validation: order.slice(0, validation) };
}
