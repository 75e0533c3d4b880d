import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";

/** Adds up the seconds that effects take, by name. */
export function stopwatch() {
  const seconds: Record<string, number> = {};
  const time = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.map(Effect.timed(effect), ([duration, value]) => {
      seconds[name] = (seconds[name] ?? 0) + Duration.toSeconds(duration);
      return value;
    });
  return { seconds, time };
}
