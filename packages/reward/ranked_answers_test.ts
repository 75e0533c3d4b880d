import { expect, it } from "vitest";
import { byAnswers } from "./ranked_answers.ts";

it("brings rankings of the same answers together, whoever ranked, and keeps the order", () => {
  const first = { prompt: [1], responses: [[2], [3]] };
  const second = { prompt: [1], responses: [[3], [2]] };
  expect(
    byAnswers([
      { ...first, ranks: [1, 2] },
      { ...second, ranks: [1, 1] },
      { ...first, ranks: [2, 1] },
    ]),
  ).toEqual([
    {
      ...first,
      rankings: [
        [1, 2],
        [2, 1],
      ],
    },
    { ...second, rankings: [[1, 1]] },
  ]);
});
