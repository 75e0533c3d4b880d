import { expect, it } from "vitest";
import { constantWithWarmup, cosine, linear } from "./schedules.ts";

it("a constant rate warms up from a tenth", () => {
  const rate = constantWithWarmup({ peak: 2, warmup: 10 });
  expect([0, 5, 10, 99].map(rate)).toEqual([0.2, 1.1, 2, 2]);
  expect(constantWithWarmup({ peak: 2, warmup: 0 })(0)).toBe(2);
});

it.each([cosine, linear])("%o starts at the peak and ends at the floor, and stays there", (schedule) => {
  const rate = schedule({ peak: 1, total: 11, floorShare: 0.1 });
  expect(rate(0)).toBe(1);
  expect(rate(5)).toBeCloseTo(0.55, 12);
  expect(rate(10)).toBeCloseTo(0.1, 12);
  expect(rate(20)).toBeCloseTo(0.1, 12);
});

it("schedules survive runs of one step", () => {
  expect(cosine({ peak: 1, total: 1 })(0)).toBe(1);
  expect(linear({ peak: 1, total: 1, warmup: 3 })(0)).toBe(0.25);
});
