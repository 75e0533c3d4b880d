import { expect, it } from "vitest";
import { fluencyCriterion } from "./fluency.ts";

const nouns = ["dog", "cat", "bird", "child", "man", "woman"];
const sentences = nouns.flatMap((a) =>
  nouns.map((b) => `The ${a} saw the ${b} in the garden and went to the house.`),
);
const { judge } = fluencyCriterion(sentences);
const fluency = (response: string) => judge(undefined, response, 0)!;

it("tells new sentences from the same words in another order", () => {
  expect(fluency("The woman went to the garden and saw the house.")).toBe(1);
  expect(fluency("To woman the and garden the saw house went the.")).toBe(0);
});

it("does not let a given sentence vouch for itself", () => {
  const odd = "Garden to dog and the the.";
  const knowing = fluencyCriterion([...sentences, odd]);
  expect(knowing.judge(undefined, odd, 0)).toBeCloseTo(fluency(odd), 1);
});
