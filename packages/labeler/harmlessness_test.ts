import { cuss } from "cuss";
import { expect, it } from "vitest";
import { harmlessnessCriterion, isProfane } from "./harmlessness.ts";

it("objects to words that are surely profane, and only to whole words", () => {
  const surely = Object.keys(cuss).find((word) => /^[a-z]{5,}$/.test(word) && cuss[word] === 2)!;
  const hardly = Object.keys(cuss).find((word) => /^[a-z]{5,}$/.test(word) && cuss[word] === 0)!;
  expect(isProfane(`What a ${surely.toUpperCase()}, he said.`)).toBe(true);
  expect(isProfane(`x${surely}x`)).toBe(false);
  expect(harmlessnessCriterion.judge(undefined, `a ${surely}`, 0)).toBe(0);
  expect(harmlessnessCriterion.judge(undefined, `a ${hardly} constructor`, 0)).toBe(1);
});
