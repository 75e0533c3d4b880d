import type { Ranking } from "@rlhf/core/records";
import * as Schema from "effect/Schema";
import { type Format, formatOf, Text } from "./_format.ts";
import { readRecords } from "./_read_records.ts";
import type { Reading } from "./_read_text.ts";

/**
 * Reads rankings from a file, or from all files of a folder: JSON lines or a JSON list, gzipped or not. The format of
 * each file is recognized by the fields of its rows:
 *
 * - `{prompt, responses, ranks, labeler?}`: rank 1 is best, equal ranks are a tie
 * - `{prompt, chosen, rejected}`
 * - `{chosen, rejected}`: transcripts of Anthropic's HH-RLHF (Bai et al. 2022, arXiv:2204.05862), turns of `Human:`
 *   and `Assistant:`. The prompt is what both share up to the assistant's last turn, word for word.
 *
 * A response may be empty: labellers do rank such. Fails with `InvalidInput`, which lists everything that is wrong in
 * all files, each with its line.
 */
export const readRankings = (path: string): Reading<Ranking> => readRecords(path, formats);

const rank = Schema.Int.check(
  Schema.makeFilter((value) => value >= 1 || "Expected a rank of 1 or more, where 1 is best"),
);

const ranked = formatOf({
  fields: ["prompt", "responses", "ranks"],
  schema: Schema.Struct({
    prompt: Text,
    responses: Schema.Array(Schema.String).check(
      Schema.makeFilter(({ length }) => length >= 2 || "Expected two responses or more"),
    ),
    ranks: Schema.Array(rank),
    labeler: Schema.optionalKey(Schema.String),
  }).check(
    Schema.makeFilter(({ responses, ranks }) =>
      responses.length === ranks.length
        ? true
        : { path: ["ranks"], issue: `Expected one rank for each of the ${responses.length} responses` },
    ),
  ),
  records: (row) => [row],
});

const pair = formatOf({
  fields: ["prompt", "chosen", "rejected"],
  schema: Schema.Struct({ prompt: Text, chosen: Schema.String, rejected: Schema.String }),
  records: ({ prompt, chosen, rejected }) => [preference(prompt, chosen, rejected)],
});

const assistant = "\n\nAssistant:";
const transcript = Schema.String.check(
  Schema.makeFilter(
    (text) =>
      (text.startsWith("\n\nHuman:") && text.includes(assistant)) ||
      `Expected a transcript with "\\n\\nHuman:" and "\\n\\nAssistant:"`,
  ),
);

const transcripts = formatOf({
  fields: ["chosen", "rejected"],
  schema: Schema.Struct({ chosen: transcript, rejected: transcript }).check(
    Schema.makeFilter(({ chosen, rejected }) =>
      sharedPrompt(chosen, rejected) !== ""
        ? true
        : { path: ["rejected"], issue: "Expected the same first question as in chosen" },
    ),
  ),
  records: ({ chosen, rejected }) => {
    const prompt = sharedPrompt(chosen, rejected);
    return [preference(prompt, chosen.slice(prompt.length), rejected.slice(prompt.length))];
  },
});

const formats: ReadonlyArray<Format<Ranking>> = [ranked, pair, transcripts];

function preference(prompt: string, chosen: string, rejected: string): Ranking {
  return { prompt, responses: [chosen, rejected], ranks: [1, 2] };
}

/** What both transcripts begin with, up to the last turn of the assistant that they share. */
function sharedPrompt(chosen: string, rejected: string): string {
  let same = 0;
  while (same < chosen.length && chosen[same] === rejected[same]) same++;
  const turn = chosen.slice(0, same).lastIndexOf(assistant);
  return turn < 0 ? "" : chosen.slice(0, turn + assistant.length);
}
