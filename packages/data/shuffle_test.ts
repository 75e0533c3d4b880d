import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInput } from "@rlhf/core/errors";
import { key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { rebatch, shuffle } from "./shuffle.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rlhf-shuffle-test-"));
});
afterEach(() => rm(folder, { recursive: true }));

const numbers = Array.from({ length: 10_000 }, (_, i) => i);
const batches = Stream.fromIterable(
  Array.from({ length: 100 }, (_, i) => numbers.slice(i * 100, (i + 1) * 100)),
);
const shuffled = async (seed: number) =>
  (await Effect.runPromise(Stream.runCollect(shuffle(batches, { key: key(seed), folder, piles: 7 })))).flat();

it("gives every record once, in an order of the key's, and leaves no file", async () => {
  const order = await shuffled(1);
  expect([...order].sort((a, b) => a - b)).toEqual(numbers);
  expect(await shuffled(1)).toEqual(order);
  expect(await shuffled(2)).not.toEqual(order);
  expect(await readdir(folder)).toEqual([]);
});

it("sends records anywhere: places before and after are as good as unrelated", async () => {
  const order = await shuffled(3);
  const middle = (numbers.length - 1) / 2;
  const covariance = order.reduce((sum, value, place) => sum + (value - middle) * (place - middle), 0);
  const variance = numbers.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  expect(Math.abs(covariance / variance)).toBeLessThan(0.04); // four standard errors
});

it("batches by size", async () => {
  const sizes = await Effect.runPromise(
    Stream.runCollect(Stream.map(rebatch(batches, 64), ({ length }) => length)),
  );
  expect(sizes).toEqual([...new Array(156).fill(64), 16]);
});

it("gives nothing when the data is refused at its end", async () => {
  const refused = Stream.concat(batches, Stream.fail(new InvalidInput({ problems: [] })));
  let seen = 0;
  const run = Stream.runForEach(shuffle(refused, { key: key(1), folder }), () => Effect.sync(() => seen++));
  expect((await Effect.runPromise(Effect.flip(run)))._tag).toBe("InvalidInput");
  expect(seen).toBe(0);
  expect(await readdir(folder)).toEqual([]);
});

it("names a folder that cannot be written to", async () => {
  const run = Stream.runDrain(shuffle(batches, { key: key(1), folder: join(folder, "absent") }));
  expect((await Effect.runPromise(Effect.flip(run))).message).toContain(
    "absent: cannot shuffle there: ENOENT",
  );
});
