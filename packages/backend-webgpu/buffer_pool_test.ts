import { expect, it } from "vitest";
import { BufferPool } from "./buffer_pool.ts";

const usage = 1;

/** A pool on a device that only counts. */
const poolOf = (limit: number) => {
  const counts = { made: 0, destroyed: 0 };
  const createBuffer = ({ size, usage }: GPUBufferDescriptor) => {
    counts.made++;
    return { size, usage, destroy: () => counts.destroyed++ } as unknown as GPUBuffer;
  };
  return { pool: new BufferPool({ createBuffer }, limit), counts };
};

it("shares buffers between sizes of one class and never between usages", () => {
  const { pool, counts } = poolOf(1e6);
  const first = pool.acquireBuffer(4100, usage);
  expect(first.size).toBe(4608);
  pool.releaseBuffer(first);
  expect(pool.acquireBuffer(4600, usage)).toBe(first);
  expect(pool.acquireBuffer(4600, 2 * usage)).not.toBe(first);
  expect(pool.acquireBuffer(1, usage).size).toBe(256);
  expect(counts.made).toBe(3);
});

it("wastes less than an eighth, and gives sizes that hold whole vectors of four", () => {
  const { pool } = poolOf(0);
  for (let size = 256; size < 1e7; size = Math.ceil(size * 1.37)) {
    const capacity = pool.acquireBuffer(size, usage).size;
    expect(capacity).toBeGreaterThanOrEqual(size);
    expect(capacity).toBeLessThanOrEqual(size * 1.125 + 1);
    expect(capacity % 16).toBe(0);
  }
});

it("holds no more than its limit for reuse, and keeps what was used last", () => {
  const { pool, counts } = poolOf(3 * 1024);
  const buffers = [1024, 2048, 1024].map((size) => pool.acquireBuffer(size, usage));
  expect(pool.numBytesUsed).toBe(4096);
  for (const buffer of buffers) pool.releaseBuffer(buffer);
  expect(pool.numBytesUsed).toBe(0);
  expect(pool.numBytesAllocated).toBeLessThanOrEqual(pool.limit / 2);
  expect(counts.destroyed).toBe(2);
  pool.dispose();
  expect(pool.numBytesAllocated).toBe(0);
});

it("refuses what it did not give", () => {
  const { pool } = poolOf(1024);
  const buffer = pool.acquireBuffer(16, usage);
  pool.releaseBuffer(buffer);
  expect(() => pool.releaseBuffer(buffer)).toThrow("did not give");
});
