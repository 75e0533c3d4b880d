import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { integers, key } from "../core/random.ts";
import { loadAddon } from "./addon.ts";
import { BufferPool } from "./buffer_pool.ts";

const { addon } = loadAddon();
const slab = 2 ** 26;
const addressOf = (array: Float32Array) => array.byteOffset;

it("gives the first gap that is long enough", () => {
  const pool = new BufferPool(addon);
  const [first, second, third] = [pool.take(5000), pool.take(3000), pool.take(5000)];
  pool.give(first);
  const small = pool.take(2000);
  expect(addressOf(small)).toBe(addressOf(first));
  expect(addressOf(pool.take(4000))).toBeGreaterThan(addressOf(third));
  expect(addressOf(pool.take(3000))).toBeLessThan(addressOf(second));
});

it("joins gaps in whatever order they come", () => {
  const pool = new BufferPool(addon);
  const arrays = Array.from({ length: 6 }, () => pool.take(4096));
  for (const i of [1, 4, 3, 0, 5, 2]) pool.give(arrays[i]!);
  expect(pool.bytes).toBe(6 * 4096 * 4);
  expect(addressOf(pool.take(6 * 4096))).toBe(addressOf(arrays[0]!));
  expect(pool.bytes).toBe(0);
});

it("never lets two arrays overlap, and has all memory back at the end", () => {
  const pool = new BufferPool(addon);
  const numbers = integers(key(3), 6000, 1 << 20).values();
  const held: Array<{ readonly array: Float32Array; readonly mark: number }> = [];
  for (let i = 0; i < 3000; i++) {
    const [choice, size] = [numbers.next().value!, numbers.next().value!];
    if (held.length > 0 && choice % 2 === 0) {
      const [{ array, mark }] = held.splice(choice % held.length, 1) as [(typeof held)[number]];
      expect([array[0], array.at(-1)]).toEqual([mark, mark]);
      pool.give(array);
    } else {
      const array = pool.take(1024 + size);
      array[0] = array[array.length - 1] = i;
      held.push({ array, mark: i });
    }
  }
  for (const { array } of held) pool.give(array);
  expect(addressOf(pool.take(slab - 32))).toBeLessThan(64);
});

it("takes an array that is larger than a slab", () => {
  const pool = new BufferPool(addon);
  const array = pool.take(slab + 5);
  expect(array).toHaveLength(slab + 5);
  pool.give(array);
  pool.trim();
  expect(pool.bytes).toBe(0);
});

it("holds no more than its limit, and nothing after a trim", () => {
  const pool = new BufferPool(addon, 1e6);
  const arrays = Array.from({ length: 100 }, (_, i) => pool.take(2000 + 300 * i));
  for (const array of arrays) {
    pool.give(array);
    expect(pool.bytes).toBeLessThanOrEqual(1e6);
  }
  pool.trim();
  expect(pool.bytes).toBe(0);
});

it.skipIf(process.platform !== "linux")("gives memory back to the system", () => {
  const resident = () => Number(readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096;
  const pool = new BufferPool(addon);
  const [kept, array] = [pool.take(2000).fill(1), pool.take(2 ** 24).fill(1)];
  const full = resident();
  pool.give(array);
  pool.trim();
  expect(full - resident()).toBeGreaterThan(0.9 * 2 ** 26);
  expect(kept.every((x) => x === 1)).toBe(true);
});

it("leaves arrays of others alone", () => {
  const pool = new BufferPool(addon);
  pool.give(new Float32Array(5000));
  expect(pool.bytes).toBe(0);
});

it("starts arrays on a cache line", () => {
  const pool = new BufferPool(addon);
  for (const length of [1024, 5000, 1_000_003]) expect(addon.misalignment(pool.take(length))).toBe(0);
});
