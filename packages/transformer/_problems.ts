import { InvalidInput, type Problem } from "@rlhf/core/errors";
import * as Effect from "effect/Effect";
import * as FileSystem from "effect/FileSystem";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";

export function invalid(problem: Problem): InvalidInput {
  return new InvalidInput({ problems: [problem] });
}

/** Writes a JSON file whole or not at all. */
export const writeJson = Effect.fnUntraced(function* (path: string, value: unknown) {
  const files = yield* FileSystem.FileSystem;
  yield* files.writeFileString(`${path}.partial`, `${JSON.stringify(value, null, 2)}\n`);
  yield* files.rename(`${path}.partial`, path);
});

export const readJson = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem;
  const text = yield* files.readFileString(path);
  return yield* Effect.try({
    try: () => JSON.parse(text) as unknown,
    catch: (error) =>
      invalid({ where: path, problem: (error as Error).message, remedy: "Copy or download the file again" }),
  });
});

/** The value as the schema has it, or `InvalidInput` with everything that does not fit. */
export function decodeJson<T, E>(
  schema: Schema.Codec<T, E>,
  where: string,
  value: unknown,
  remedy: string,
): Effect.Effect<T, InvalidInput> {
  return Schema.decodeUnknownEffect(schema)(value, { errors: "all" }).pipe(
    Effect.mapError(
      ({ issue }) =>
        new InvalidInput({
          problems: SchemaIssue.makeFormatterStandardSchemaV1()(issue).issues.map(
            ({ path = [], message }) => ({
              where: [where, ...path.map(String)].join(": "),
              problem: message,
              remedy,
            }),
          ),
        }),
    ),
  );
}
