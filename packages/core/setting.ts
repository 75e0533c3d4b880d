import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";

/** Ranges that settings of every stage share. */
export const Count = Schema.Int.check(Schema.isGreaterThan(0));
export const CountOrZero = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0));
export const Positive = Schema.Finite.check(Schema.isGreaterThan(0));
export const NonNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0));
/** From 0 to 1, both included. */
export const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }));

/**
 * One field of a stage's config: its range, its default, and what it means with its symbol and where the default
 * comes from. The default holds both where the field is missing from a file and where `make` is not given it.
 */
export const setting = <S extends Schema.Top & Schema.WithoutConstructorDefault>(
  schema: S,
  value: S["Encoded"] & S["~type.make.in"],
  description: string,
) =>
  (schema.annotate({ description }) as S).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(value)),
    Schema.withConstructorDefault(Effect.succeed(value)),
  );
