import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeScalarModel, initModel, initScalarModel } from "@rlhf/transformer";
import { Effect } from "effect";
import { expect, it } from "vitest";
import { measureRewardModel } from "./evaluate.ts";

it("measures a reward model where no prompt was ranked by several labellers", async () => {
  await useBackend("cpu");
  const shape = { vocabSize: 8, contextLength: 16, layers: 1, width: 8, heads: 2 };
  const model = initScalarModel(initModel({ architecture: "gpt2", ...shape }, key(1)), key(2));
  const ranking = {
    prompt: [3],
    responses: [
      [4, 1],
      [5, 1],
    ],
    ranks: [1, 2],
    labeler: "people",
  };
  const comparisons = { training: [], validation: [ranking], heldOut: [], overlap: [[], []], texts: [] };
  const config = { evaluation: { temperature: 1, resamples: 10 } };
  const measured = await Effect.runPromise(measureRewardModel(model, comparisons, key(3), config));
  expect(Object.keys(measured)).toEqual(["accuracy"]);
  disposeScalarModel(model);
});
