import { expect, it } from "vitest";
import { datasetSize } from "./dataset_size.ts";

it("counts C(K, 2) pairs a ranking", () => {
  const ranking = { prompt: "?", responses: ["a", "b", "c", "d"], ranks: [1, 2, 2, 3] };
  expect(datasetSize([ranking, ranking])).toEqual({ prompts: 2, responses: 8, pairs: 12, tied: 2 });
  expect(datasetSize([])).toEqual({ prompts: 0, responses: 0, pairs: 0, tied: 0 });
});
