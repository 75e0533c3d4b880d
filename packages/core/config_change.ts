import * as Effect from "effect/Effect";
import { InvalidInput, type Problem } from "./errors.ts";

/**
 * Whether a run may go on with a config other than it was started with: all differences at once, but those in fields
 * that may change. A field is named by its path; `*` stands for one part of it: `*.evaluateEvery`.
 *
 * Fails with `InvalidInput` that names every other field with its old and its new value.
 */
export const checkConfigChange = (
  started: unknown,
  wanted: unknown,
  options: {
    readonly mayChange?: ReadonlyArray<string>;
    /** Fields whose number may become larger, such as the number of steps. */
    readonly mayGrow?: ReadonlyArray<string>;
  } = {},
): Effect.Effect<void, InvalidInput> => {
  const { mayChange = [], mayGrow = [] } = options;
  const problems = differences(started, wanted, []).flatMap(({ path, before, after }): Array<Problem> => {
    const grows = typeof before === "number" && typeof after === "number" && after > before;
    if (matches(path, mayChange) || (grows && matches(path, mayGrow))) return [];
    const problem = `the run was started with ${show(before)}, now it is ${show(after)}`;
    const remedy = matches(path, mayGrow)
      ? "it may only become larger"
      : "leave it as it was, or start another run";
    return [{ where: path.join("."), problem, remedy }];
  });
  return problems.length === 0 ? Effect.void : Effect.fail(new InvalidInput({ problems }));
};

interface Difference {
  readonly path: ReadonlyArray<string>;
  readonly before: unknown;
  readonly after: unknown;
}

function differences(before: unknown, after: unknown, path: ReadonlyArray<string>): Array<Difference> {
  if (!isObject(before) || !isObject(after)) {
    return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, before, after }];
  }
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => differences(before[name], after[name], [...path, name]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function matches(path: ReadonlyArray<string>, patterns: ReadonlyArray<string>): boolean {
  return patterns.some((pattern) => {
    const parts = pattern.split(".");
    return parts.length === path.length && parts.every((part, i) => part === "*" || part === path[i]);
  });
}

function show(value: unknown): string {
  return value === undefined ? "absent" : JSON.stringify(value);
}
