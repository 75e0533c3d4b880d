import { expect, it } from "vitest";
import { loadAddon } from "./addon.ts";
import { BufferPool } from "./buffer_pool.ts";

const aligned = () => 0;

it("gives an array back to the next of about its size", () => {
  const pool = new BufferPool(aligned);
  const first = pool.take(10_000);
  pool.give(first);
  const second = pool.take(9_900);
  expect(second).toHaveLength(9_900);
  expect(second.buffer).toBe(first.buffer);
  expect(pool.bytes).toBe(0);
  expect(pool.take(9_900).buffer).not.toBe(first.buffer);
});

it("wastes at most an eighth", () => {
  const pool = new BufferPool(aligned);
  for (let length = 1024; length < 1e6; length = Math.ceil(length * 1.01)) {
    expect(pool.take(length).buffer.byteLength).toBeLessThan(4 * 1.126 * length + 128);
  }
});

it("holds no more than its limit, and nothing after a trim", () => {
  const pool = new BufferPool(aligned, 1e6);
  const arrays = Array.from({ length: 100 }, (_, i) => pool.take(2000 + 300 * i));
  for (const array of arrays) pool.give(array);
  expect(pool.bytes).toBeGreaterThan(0);
  expect(pool.bytes).toBeLessThanOrEqual(1e6);
  pool.trim();
  expect(pool.bytes).toBe(0);
});

it("leaves arrays of others alone", () => {
  const pool = new BufferPool(aligned);
  pool.give(new Float32Array(5000));
  expect(pool.bytes).toBe(0);
});

it("starts arrays on a cache line", () => {
  const { addon } = loadAddon();
  const pool = new BufferPool((array) => addon.misalignment(array));
  for (const length of [1024, 5000, 1_000_003]) expect(addon.misalignment(pool.take(length))).toBe(0);
});
