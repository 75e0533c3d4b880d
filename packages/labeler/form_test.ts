import { expect, it } from "vitest";
import { formCriterion } from "./form.ts";

const { judge } = formCriterion((word) => word !== "xqz");
const form = (response: string) => judge(undefined, response, 0);

it("gives a plain sentence 1", () => {
  expect(form("The children played in the garden all afternoon.")).toBe(1);
  expect(form("Will you join us for dinner?")).toBe(1);
  expect(form(`"We won the last game!"`)).toBe(1);
});

it("gives 0 without a capital, without an end, and to more than one line", () => {
  expect(form("the children played in the garden.")).toBe(0);
  expect(form("The children played in the garden")).toBe(0);
  expect(form("The children played\nin the garden.")).toBe(0);
  expect(form("")).toBe(0);
});

it("takes off for length, made-up words and repetition", () => {
  expect(form("Yes.")).toBe(0);
  expect(form("The dog barked.")).toBeCloseTo(1 / 3);
  expect(form(`${"One two three four five six seven eight nine ten eleven twelve ".repeat(3)}end.`)).toBe(0);
  expect(form("The xqz played in the garden.")).toBeCloseTo((5 / 6) ** 2);
  expect(form("Happy happy happy happy happy food.")).toBe(0);
  expect(form("He said that he said that again.")).toBe(0);
});
