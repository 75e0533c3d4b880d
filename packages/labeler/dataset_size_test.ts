import { expect, it } from "vitest";
import { datasetSize } from "./dataset_size.ts";

it("counts C(K, 2) pairs a ranking, and responses once however many people ranked them", () => {
  const ranking = { prompt: "?", responses: ["a", "b", "c", "d"], ranks: [1, 2, 2, 3] };
  const another = { ...ranking, ranks: [1, 2, 3, 4] };
  const elsewhere = { ...ranking, prompt: "!" };
  expect(datasetSize([ranking, another, elsewhere])).toEqual({
    prompts: 2,
    responses: 8,
    rankings: 3,
    pairs: 18,
    tied: 2,
  });
  expect(datasetSize([])).toEqual({ prompts: 0, responses: 0, rankings: 0, pairs: 0, tied: 0 });
});
