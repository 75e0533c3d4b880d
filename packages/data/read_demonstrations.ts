import type { Demonstration } from "@rlhf/core/records";
import * as Schema from "effect/Schema";
import { type Format, formatOf, Text } from "./_format.ts";
import { readRecords } from "./_read_records.ts";
import type { Reading } from "./_read_text.ts";

/**
 * Reads demonstrations from a file, or from all files of a folder: JSON lines or a JSON list, gzipped or not. The
 * format of each file is recognized by the fields of its rows:
 *
 * - `{prompt, response}`
 * - Alpaca's `{instruction, input?, output}`; an input follows its instruction after an empty line
 * - Self-Instruct's seed tasks, `{instruction, instances: [{input, output}]}`
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line.
 */
export const readDemonstrations = (path: string): Reading<Demonstration> => readRecords(path, formats);

const promptAndResponse = formatOf({
  fields: ["prompt", "response"],
  schema: Schema.Struct({ prompt: Text, response: Text }),
  records: (row) => [row],
});

const alpaca = formatOf({
  fields: ["instruction", "output"],
  schema: Schema.Struct({ instruction: Text, input: Schema.optionalKey(Schema.String), output: Text }),
  records: ({ instruction, input, output }) => [
    { prompt: instructionWithInput(instruction, input), response: output },
  ],
});

const seedTask = formatOf({
  fields: ["instruction", "instances"],
  schema: Schema.Struct({
    instruction: Text,
    instances: Schema.Array(Schema.Struct({ input: Schema.String, output: Text })),
  }),
  records: ({ instruction, instances }) =>
    instances.map(({ input, output }) => ({
      prompt: instructionWithInput(instruction, input),
      response: output,
    })),
});

const formats: ReadonlyArray<Format<Demonstration>> = [promptAndResponse, alpaca, seedTask];

function instructionWithInput(instruction: string, input = ""): string {
  return input === "" ? instruction : `${instruction}\n\n${input}`;
}
