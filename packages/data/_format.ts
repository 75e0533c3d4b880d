import type { Problem } from "@rlhf/core/errors";
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";
import type { Readings } from "./_read_text.ts";
import type { JsonRow } from "./_rows.ts";

/** How one kind of file writes its records. To read another kind, add its format to the reader's list. */
export interface Format<Record> {
  /** What a row looks like, for messages: `{"prompt", "response"}`. */
  readonly example: string;
  /** Whether the row is of this format, by the names of its fields; their values may be wrong. */
  readonly recognizes: (row: JsonObject) => boolean;
  /** The records of a row of this format, or what is wrong with it. */
  readonly decode: (row: JsonObject) => Result.Result<ReadonlyArray<Record>, ReadonlyArray<string>>;
}

export type JsonObject = { readonly [field: string]: unknown };

/** A format of objects with the fields of a Schema; those in `fields` must be there. */
export function formatOf<Fields, Record>(definition: {
  readonly fields: ReadonlyArray<string>;
  readonly schema: Schema.Codec<Fields, unknown>;
  readonly records: (row: Fields) => ReadonlyArray<Record>;
}): Format<Record> {
  const { fields, schema, records } = definition;
  const decode = Schema.decodeUnknownResult(schema, { errors: "all" });
  return {
    example: `{${fields.map((field) => `"${field}": …`).join(", ")}}`,
    recognizes: (row) => fields.every((field) => field in row),
    decode: (row) => {
      // A field that is not there is reported like one of the wrong type, with what was expected.
      const whole = { ...Object.fromEntries(fields.map((field) => [field, undefined])), ...row };
      return Result.mapBoth(decode(whole), {
        onSuccess: records,
        onFailure: ({ issue }) =>
          formatIssue(issue).issues.map(({ path = [], message }) => fieldProblem(row, path, message)),
      });
    },
  };
}

/** Text with something in it. */
export const Text = Schema.String.check(
  Schema.makeFilter((text) => text.trim() !== "" || "Expected text that is not empty"),
);

/**
 * The records of rows, which are all of the format of the first row that is recognized; so a row that lacks a field
 * is reported as such.
 */
export function decodeRows<Record>(
  rows: ReadonlyArray<JsonRow>,
  formats: ReadonlyArray<Format<Record>>,
): Readings<Record> {
  const objects = rows.map(({ value }) => Result.getOrUndefined(value)).filter(isObject);
  const format = objects
    .map((row) => formats.find((candidate) => candidate.recognizes(row)))
    .find((candidate) => candidate !== undefined);
  const decode = (row: unknown): Result.Result<ReadonlyArray<Record>, ReadonlyArray<string>> => {
    if (!isObject(row)) return Result.fail([`expected an object, found ${show(row)}`]);
    if (format !== undefined) return format.decode(row);
    if (row !== objects[0]) return Result.succeed([]); // an unknown format is reported once
    return Result.fail([`the format is not known: found the fields ${Object.keys(row).join(", ")}`]);
  };
  const remedy = rowRemedy(format === undefined ? formats : [format]);
  const values: Array<Record> = [];
  const problems: Array<Problem> = [];
  for (const { where, value } of rows) {
    const decoded = Result.flatMap(value, decode);
    if (Result.isSuccess(decoded)) values.push(...decoded.success);
    else for (const problem of [decoded.failure].flat()) problems.push({ where, problem, remedy });
  }
  return { values, problems };
}

export function rowRemedy(formats: ReadonlyArray<Format<unknown>>): string {
  return `write rows of JSON that look like ${formats.map(({ example }) => example).join(" or ")}`;
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1();

/** `ranks[1]: expected an integer, found "x"`. */
function fieldProblem(row: JsonObject, path: ReadonlyArray<unknown>, message: string): string {
  let field = "";
  let found: unknown = row;
  for (const segment of path as ReadonlyArray<string | number>) {
    field += typeof segment === "number" ? `[${segment}]` : `${field === "" ? "" : "."}${segment}`;
    found = (found as JsonObject | undefined)?.[segment];
  }
  const expected = message.charAt(0).toLowerCase() + message.slice(1);
  return `${field}: ${expected}, found ${show(found)}`;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
