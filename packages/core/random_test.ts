import { describe, expect, it } from "vitest";
import { fold, integers, key, normals, permutation, shuffled, uniforms } from "./random.ts";

describe("counter-based random numbers", () => {
  it("gives the same numbers for the same key, whatever the count", () => {
    const from = fold(key(7), "ppo");
    expect(uniforms(from, 5)).toEqual(uniforms(from, 100).subarray(0, 5));
  });

  it("gives different streams for different seeds, names and steps", () => {
    const streams = [
      key(1),
      key(2),
      key(2 ** 32 + 1),
      fold(key(1), "a"),
      fold(key(1), "b"),
      fold(key(1), 0),
      fold(key(1), 1),
    ];
    const firsts = new Set(streams.map((from) => uniforms(from, 2).join()));
    expect(firsts.size).toBe(streams.length);
  });

  it("matches the published test vector of Philox4x32-10", () => {
    // Random123's known-answer test for counter 0 and key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
    const expected = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8];
    expect(Array.from(uniforms([0, 0], 4))).toEqual(expected.map((word) => (word >>> 8) * 2 ** -24));
  });

  it("draws uniforms with the right mean and spread", () => {
    const draws = uniforms(key(3), 100_000);
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.003);
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.001);
  });

  it("draws normals with mean 0, variance 1 and the right tails", () => {
    const draws = normals(key(4), 100_001);
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
    const variance = draws.reduce((sum, x) => sum + x * x, 0) / draws.length;
    const beyondTwo = draws.filter((x) => Math.abs(x) > 2).length / draws.length;
    expect(Math.abs(mean)).toBeLessThan(0.012);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(0.003);
  });

  it("draws every integer below the bound about equally often", () => {
    const counts = new Array(10).fill(0);
    for (const n of integers(key(5), 50_000, 10)) counts[n]++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - 5000) ** 2 / 5000, 0);
    expect(chiSquare).toBeLessThan(27.9); // 99.9 % quantile with 9 degrees of freedom
  });

  it("permutes: every item once, every position equally likely", () => {
    expect(Array.from(permutation(key(6), 100)).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, i) => i),
    );
    const firsts = new Array(5).fill(0);
    for (let i = 0; i < 10_000; i++) firsts[permutation(fold(key(6), i), 5)[0]!]++;
    const chiSquare = firsts.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0);
    expect(chiSquare).toBeLessThan(18.5); // 99.9 % quantile with 4 degrees of freedom
    expect(shuffled(key(1), ["a", "b", "c"]).sort()).toEqual(["a", "b", "c"]);
  });

  it("refuses a seed that is no whole number", () => {
    expect(() => key(1.5)).toThrow("seed must be an integer");
  });
});
