#!/usr/bin/env node
/**
 * The command `rlhf-data`: what is understood of a file, before anything is trained on it.
 */
import { parseArgs } from "node:util";
import { InvalidInput } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import type { Kind } from "./format.ts";
import { show } from "./show.ts";

const help = `rlhf-data show FILE|FOLDER [options]

What is understood of a file: its format, bad rows, lengths, duplicates, labels and three samples.

  --evaluation FILE   also look for near duplicates between FILE and this
  --tokenizer FILE    count the tokens of this tokenizer.json; without it words and marks are counted
  --as KIND           texts, demonstrations, rankings, labels or conversations; by default what the format has first
  --format NAME       in place of the format that shows in the content
  --fields A=B,C=D    the format's field A is the file's field B; a dot leads into an object
  --bad-share SHARE   bad rows allowed, 0 to 1; default 1: everything that can be read is shown`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    evaluation: { type: "string" },
    tokenizer: { type: "string" },
    as: { type: "string" },
    format: { type: "string" },
    fields: { type: "string" },
    "bad-share": { type: "string", default: "1" },
    help: { type: "boolean" },
  },
});

const [command, path] = positionals;
if (values.help || command !== "show" || path === undefined) {
  console.log(help);
  process.exitCode = values.help ? 0 : 2;
} else {
  const { evaluation, tokenizer, format } = values;
  const fields = Object.fromEntries((values.fields ?? "").split(",").flatMap(fieldPair));
  const shown = show(path, {
    ...(evaluation === undefined ? {} : { evaluation }),
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(format === undefined ? {} : { format }),
    ...(values.as === undefined ? {} : { kind: values.as as Kind }),
    fields,
    badShare: Number(values["bad-share"]),
  });
  await Effect.runPromise(
    Effect.match(shown, {
      onSuccess: (text) => console.log(text),
      onFailure: (error) => {
        console.error(firstProblems(error));
        process.exitCode = 1;
      },
    }),
  );
}

function fieldPair(pair: string): ReadonlyArray<readonly [string, string]> {
  const equals = pair.indexOf("=");
  return equals < 1 ? [] : [[pair.slice(0, equals), pair.slice(equals + 1)]];
}

/** The first problems of a bad file are enough to see what is wrong with it. */
function firstProblems({ problems }: InvalidInput): string {
  const { message } = new InvalidInput({ problems: problems.slice(0, 20) });
  return problems.length <= 20 ? message : `${message}\n… and ${problems.length - 20} more problems`;
}
