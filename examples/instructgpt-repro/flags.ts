import { InvalidInput, type Problem } from "@rlhf/core";
import { Effect, Schema, SchemaIssue } from "effect";

/** The command line asks for something that does not exist; exit code 2. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", {
  problems: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return `${this.problems.join("\n")}\nnpm start -- --help lists every flag`;
  }
}

/** Other names of flags. */
const aliases: Readonly<Record<string, string>> = { model: "base" };

/** Flags without a value. */
const switches = ["help", "resume"];

type Json = string | number | boolean | null | { readonly [name: string]: Json };
export type Fields = { readonly [name: string]: Json };

/**
 * Every leaf of the preset is a flag named by its path: `--ppo.iterations 20`. The preset's own value says which
 * type to read; the schema then judges all values together.
 */
export const parseFlags = Effect.fnUntraced(function* (
  args: ReadonlyArray<string>,
  presets: Readonly<Record<string, Fields>>,
  defaultPreset: string,
) {
  const problems: Array<string> = [];
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const match = /^--([^=]+)(?:=(.*))?$/s.exec(args[i]!);
    if (match === null) problems.push(`Unexpected argument: ${args[i]}`);
    else if (switches.includes(match[1]!)) given.set(match[1]!, "true");
    else if (match[2] !== undefined) given.set(match[1]!, match[2]);
    else if (i + 1 < args.length && !args[i + 1]!.startsWith("--")) given.set(match[1]!, args[++i]!);
    else problems.push(`--${match[1]} needs a value`);
  }
  const name = given.get("preset") ?? defaultPreset;
  const preset = presets[name];
  if (preset === undefined) {
    problems.push(`Unknown preset ${name}: choose one of ${Object.keys(presets).join(", ")}`);
  }
  const known = leaves(preset ?? presets[defaultPreset]!);
  const values = new Map(known);
  for (const [name, text] of given) {
    const flag = aliases[name] ?? name;
    if (flag === "preset" || switches.includes(flag)) continue;
    if (known.has(flag)) values.set(flag, read(text, known.get(flag)!));
    else problems.push(`Unknown flag --${flag}${suggestion(flag, [...known.keys(), "preset", ...switches])}`);
  }
  if (typeof values.get("base") === "string") {
    const useless = [...given.keys()].filter((flag) => flag.startsWith("model."));
    problems.push(
      ...useless.map((flag) => `--${flag} changes nothing: the checkpoint of --base has a shape`),
    );
  }
  for (const flag of values.keys()) {
    if (isOfAnotherKind(flag, given, known)) values.delete(flag);
  }
  if (problems.length > 0) return yield* new UsageError({ problems });
  return {
    help: given.has("help"),
    resume: given.has("resume"),
    preset: name,
    fields: nest(values),
    flags: known,
  };
});

/**
 * Decodes the fields and reports every value out of range at once, each by its flag. Settings that have to fit each other
 * are compared once each has a value that is possible: where the given one is not, that of `sound` takes its place.
 */
export const decodeConfig = Effect.fnUntraced(function* <S extends Schema.Codec<unknown, unknown>>(
  schema: S,
  fields: Fields,
  sound: Fields = fields,
) {
  const decode = (values: Fields) =>
    Schema.decodeUnknownEffect(schema)(values, { errors: "all", onExcessProperty: "error" });
  const problemsOf = ({ issue }: Schema.SchemaError, values: ReadonlyMap<string, Json>) => {
    const found = new Map<string, Problem>();
    for (const { path = [], message } of SchemaIssue.makeFormatterStandardSchemaV1()(issue).issues) {
      const flag = path.map((part) => (typeof part === "object" ? part.key : part)).join(".");
      const got = values.has(flag) ? `, got ${JSON.stringify(values.get(flag))}` : "";
      const remedy = "npm start -- --help shows the default and the meaning";
      if (!found.has(flag)) found.set(flag, { where: `--${flag}`, problem: `${message}${got}`, remedy });
    }
    return found;
  };
  return yield* Effect.catch(decode(fields), (error) => {
    const given = leaves(fields);
    const problems = problemsOf(error, given);
    const replacements = leaves(sound);
    const mended = new Map(
      [...given].map(([flag, value]) => [
        flag,
        problems.has(flag) ? (replacements.get(flag) ?? value) : value,
      ]),
    );
    const fail = (more: ReadonlyMap<string, Problem>) =>
      Effect.fail(new InvalidInput({ problems: [...new Map([...more, ...problems]).values()] }));
    return decode(nest(mended)).pipe(
      Effect.matchEffect({
        onFailure: (other) => fail(problemsOf(other, mended)),
        onSuccess: () => fail(new Map()),
      }),
    );
  });
});

/** Whether a setting belongs to the kind of the preset, `klControl._tag`, where another kind was asked for. */
function isOfAnotherKind(
  flag: string,
  given: ReadonlyMap<string, string>,
  known: ReadonlyMap<string, Json>,
): boolean {
  const tag = `${flag.slice(0, flag.lastIndexOf(".") + 1)}_tag`;
  return known.has(tag) && !given.has(flag) && given.has(tag) && given.get(tag) !== known.get(tag);
}

function leaves(fields: Fields, prefix = ""): Map<string, Json> {
  return new Map(
    Object.entries(fields).flatMap(
      ([name, value]): Array<[string, Json]> =>
        typeof value === "object" && value !== null
          ? [...leaves(value, `${prefix}${name}.`)]
          : [[`${prefix}${name}`, value]],
    ),
  );
}

function nest(values: ReadonlyMap<string, Json>): Fields {
  const fields: Record<string, Json> = {};
  for (const [path, value] of values) {
    const names = path.split(".");
    let place = fields;
    for (const name of names.slice(0, -1)) place = (place[name] ??= {}) as Record<string, Json>;
    place[names.at(-1)!] = value;
  }
  return fields;
}

/** Text that is no number or boolean stays as it is, so that the schema can say what was expected. */
function read(text: string, like: Json): Json {
  if (typeof like === "number" && text.trim() !== "" && !Number.isNaN(Number(text))) return Number(text);
  if (typeof like === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

function suggestion(flag: string, known: ReadonlyArray<string>): string {
  const close = known
    .map((name) => ({ name, distance: editDistance(flag, name) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return close !== undefined && close.distance <= 3 ? `: did you mean --${close.name}?` : "";
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
