import { Effect } from "effect";
import { expect, it } from "vitest";
import { Config } from "./config.ts";
import { decodeConfig } from "./flags.ts";
import { refuseTies } from "./own_comparisons.ts";
import { presets } from "./presets.ts";

it("refuses rankings without preferences before any work starts", async () => {
  const config = await Effect.runPromise(decodeConfig(Config, presets.smoke!));
  const ranked = (ranks: ReadonlyArray<number>) =>
    ["a", "b", "c", "d"].map((prompt) => ({
      prompt: [1],
      responses: [[2], [3]],
      ranks,
      ranking: { id: prompt, prompt, responses: ["x", "y"], ranks },
    }));
  await Effect.runPromise(refuseTies(ranked([1, 2]), config));
  const { problems } = await Effect.runPromise(Effect.flip(refuseTies(ranked([1, 1]), config)));
  expect(problems.map(({ problem }) => problem)).toEqual([
    expect.stringContaining("held for training"),
    expect.stringContaining("held for validation"),
  ]);
});
