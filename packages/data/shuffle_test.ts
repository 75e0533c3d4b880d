import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidInput } from "@rlhf/core/errors";
import { key } from "@rlhf/core/random";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FileReport, streamData } from "./read.ts";
import { rebatch, shuffle, shuffleData } from "./shuffle.ts";

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

describe("shuffleData", () => {
  const put = (name: string, rows: ReadonlyArray<unknown>) =>
    writeFile(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const options = { key: key(4), piles: 3 };

  it("gives what shuffled records would be, whatever makes them of the rows", async () => {
    const many = Array.from({ length: 150 }, (_, i) => ({ instruction: `“${i}”`, output: `é ${i}` }));
    await put("1.jsonl", many);
    await put("2.jsonl", [
      { instruction: "two", instances: [1, 2].map((i) => ({ input: "", output: `${i}` })) },
    ]);
    await writeFile(join(folder, "3.csv"), "instruction,context,response\na,b,c\n");
    await writeFile(join(folder, "4.json"), JSON.stringify([{ instruction: "\n", output: "x" }], null, 2));
    await put("5.jsonl", [{ instruction: "long", output: "x".repeat(300_000) }]);
    const fields = { instruction: "instruction" };
    const expected = shuffle(streamData(folder, "demonstrations", { badShare: 0.1, fields }), options);
    const found = shuffleData(folder, "demonstrations", { ...options, badShare: 0.1, fields });
    const [rows, others] = await Effect.runPromise(
      Effect.all([Stream.runCollect(found), Stream.runCollect(expected)]),
    );
    expect(rows.flat()).toEqual(others.flat());
    expect(new Set(rows.flat().map(({ response }) => response)).size).toBe(154);
  });

  it("leaves out what is not wanted, and reports it", async () => {
    await put("r.jsonl", [
      { prompt: "p", chosen: "a", rejected: "" },
      { prompt: "p", chosen: "a", rejected: "b" },
    ]);
    const files: Array<FileReport> = [];
    const kept = shuffleData(folder, "rankings", { ...options, emptyResponses: "drop" }, files);
    const records = (await Effect.runPromise(Stream.runCollect(kept))).flat();
    expect(records.map(({ responses }) => responses)).toEqual([["a", "b"]]);
    expect(files[0]).toMatchObject({ rows: 2, records: 1, dropped: 1 });
  });

  it("gives nothing of data with a bad row at its end", async () => {
    await put("r.jsonl", [
      { prompt: "p", chosen: "a", rejected: "b" },
      { prompt: "p", chosen: "a" },
    ]);
    const error = await Effect.runPromise(
      Effect.flip(Stream.runDrain(shuffleData(folder, "rankings", options))),
    );
    expect(error.message).toContain("r.jsonl:2: rejected: expected text, found nothing");
  });
});

it("names a folder that cannot be written to", async () => {
  const run = Stream.runDrain(shuffle(batches, { key: key(1), folder: join(folder, "absent") }));
  expect((await Effect.runPromise(Effect.flip(run))).message).toContain(
    "absent: cannot shuffle there: ENOENT",
  );
});
