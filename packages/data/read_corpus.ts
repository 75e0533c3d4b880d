import * as Schema from "effect/Schema";
import { formatOf, Text } from "./_format.ts";
import { decodeFile } from "./_read_records.ts";
import { type Reading, readFiles } from "./_read_text.ts";

/**
 * Reads the documents of a corpus for pretraining from a file, or from all files of a folder, gzipped or not. JSON
 * lines or a JSON list of `{text}` hold a document per row; any other file is one document.
 *
 * Fails with `InvalidInput`, which lists everything that is wrong in all files, each with its line.
 */
export const readCorpus = (path: string): Reading<string> =>
  readFiles(path, (file) =>
    startsLikeRows(file.text) ? decodeFile(file, [textRow]) : { values: [file.text], problems: [] },
  );

const textRow = formatOf({
  fields: ["text"],
  schema: Schema.Struct({ text: Text }),
  records: ({ text }) => [text],
});

/** An object, or a list of objects; prose may well begin with a bracket. */
function startsLikeRows(text: string): boolean {
  return /^\s*(\[\s*)?\{\s*"/.test(text);
}
