import { describe, expect, it, vi } from "vitest";
import { Allocator, CudaOutOfMemory } from "./allocator.ts";
import { CudaError, type Driver, outOfMemory } from "./driver.ts";

const mebibyte = 2 ** 20;

/** A GPU with so many bytes. */
const gpu = (capacity: number) => {
  const blocks = new Map<number, number>();
  let next = 4096;
  const inUse = () => [...blocks.values()].reduce((sum, bytes) => sum + bytes, 0);
  const driver = {
    cuMemAlloc: vi.fn((output: number[], bytes: number) => {
      if (inUse() + bytes > capacity)
        throw new CudaError("cuMemAlloc", outOfMemory, "CUDA_ERROR_OUT_OF_MEMORY");
      output[0] = next++;
      blocks.set(output[0], bytes);
    }),
    cuMemFree: vi.fn((pointer: number) => {
      if (!blocks.delete(pointer)) throw new Error("freed twice");
    }),
    cuMemGetInfo: (free: number[], total: number[]) => {
      free[0] = capacity - inUse();
      total[0] = capacity;
    },
  };
  return { driver: driver as unknown as Driver, inUse, allocations: driver.cuMemAlloc };
};

describe("Allocator", () => {
  it("gives a block out again, also for a slightly smaller request", () => {
    const { driver, allocations } = gpu(100 * mebibyte);
    const allocator = new Allocator(driver);
    const block = allocator.take(10 * mebibyte, "Add", "[1]");
    allocator.give(block);
    expect(allocator.bytesInUse).toBe(0);
    expect(allocator.take(9.8 * mebibyte, "Add", "[1]")).toBe(block);
    expect(allocations).toHaveBeenCalledTimes(1);
  });

  it("wastes at most an eighth", () => {
    const allocator = new Allocator(gpu(2 ** 40).driver);
    for (const bytes of [513, 1000, 4097, 10 ** 6, 123_456_789, 2 ** 31 + 1]) {
      const block = allocator.take(bytes, "Add", "[1]");
      expect(block.bytes).toBeGreaterThanOrEqual(bytes);
      expect(block.bytes).toBeLessThanOrEqual(bytes * 1.125);
    }
  });

  it("gives what it holds back when memory runs out, and tries again", () => {
    const { driver, inUse } = gpu(100 * mebibyte);
    const allocator = new Allocator(driver);
    for (const size of [40, 30]) allocator.give(allocator.take(size * mebibyte, "Add", "[1]"));
    expect(allocator.take(80 * mebibyte, "Add", "[1]").bytes).toBe(80 * mebibyte);
    expect(inUse()).toBe(80 * mebibyte);
    expect(allocator.bytesAllocated).toBe(80 * mebibyte);
  });

  it("says who asked for what when there is too little", () => {
    const allocator = new Allocator(gpu(100 * mebibyte).driver);
    allocator.take(60 * mebibyte, "Add", "[1]");
    const attempt = () => allocator.take(64 * mebibyte, "RlhfLinear", "[4096, 4096]");
    expect(attempt).toThrow(CudaOutOfMemory);
    expect(attempt).toThrow(
      "Cannot run RlhfLinear: out of GPU memory. It asked for 64.0 MiB for [4096, 4096]; " +
        "60.0 MiB are in use here, 40.0 MiB of 100.0 MiB are free on the GPU.",
    );
    expect(allocator.bytesInUse).toBe(60 * mebibyte);
  });

  it("keeps within its limit, blocks for reuse included", () => {
    const { driver, inUse } = gpu(100 * mebibyte);
    const allocator = new Allocator(driver, 50 * mebibyte);
    allocator.give(allocator.take(32 * mebibyte, "Add", "[1]"));
    allocator.take(40 * mebibyte, "Add", "[1]");
    expect(inUse()).toBe(40 * mebibyte);
    expect(() => allocator.take(16 * mebibyte, "Add", "[1]")).toThrow("40.0 MiB of a limit of 50.0 MiB");
  });

  it("trims the longest unused first", () => {
    const { driver, inUse } = gpu(100 * mebibyte);
    const allocator = new Allocator(driver);
    const blocks = [8, 16, 4].map((size) => allocator.take(size * mebibyte, "Add", "[1]"));
    for (const block of blocks) allocator.give(block);
    allocator.trim(6 * mebibyte);
    expect(inUse()).toBe(4 * mebibyte);
    allocator.trim();
    expect(allocator.bytesAllocated).toBe(0);
  });

  it("refuses a limit that is none", () => {
    vi.stubEnv("RLHF_CUDA_MEMORY", "much");
    expect(() => new Allocator(gpu(1).driver)).toThrow(
      "RLHF_CUDA_MEMORY must be a number of GiB above 0, got much",
    );
    vi.unstubAllEnvs();
  });
});
