import { InvalidInput, type Problem } from "@rlhf/core";
import { Effect, Result } from "effect";

type Checks = ReadonlyArray<Effect.Effect<unknown, unknown, unknown>>;
type Values<T extends Checks> = { -readonly [K in keyof T]: Effect.Success<T[K]> };
type Errors<T extends Checks> = Effect.Error<T[number]>;
type Services<T extends Checks> = Effect.Services<T[number]>;

/** Runs all of them, one after the other, and fails with the problems of all at once. */
export const allProblems = <const T extends Checks>(
  checks: T,
): Effect.Effect<Values<T>, InvalidInput | Errors<T>, Services<T>> =>
  Effect.gen(function* () {
    const problems: Array<Problem> = [];
    const values: Array<unknown> = [];
    for (const check of checks as ReadonlyArray<Effect.Effect<unknown, Errors<T>, Services<T>>>) {
      const result = yield* Effect.result(check);
      if (Result.isSuccess(result)) values.push(result.success);
      else if (result.failure instanceof InvalidInput) problems.push(...result.failure.problems);
      else return yield* Effect.fail(result.failure);
    }
    if (problems.length > 0) return yield* new InvalidInput({ problems });
    return values as Values<T>;
  });
