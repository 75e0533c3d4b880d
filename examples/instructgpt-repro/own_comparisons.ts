import { fold, InvalidInput, type Key, key, shuffled } from "@rlhf/core";
import { Effect } from "effect";
import type { Config } from "./config.ts";
import type { OwnRanking } from "./encode.ts";

/** People's rankings in the place of simulated ones, split by prompt. Of the people nothing else is known. */
export function splitRankings(encoded: ReadonlyArray<OwnRanking>, { comparing }: Config, key: Key) {
  const prompts = shuffled(key, [...new Set(encoded.map(({ ranking }) => ranking.prompt))]);
  const validation = new Set(prompts.slice(0, Math.ceil(prompts.length * comparing.validationShare)));
  const labeled = encoded.map((one) => ({ ...one, labeler: one.ranking.labeler ?? "people" }));
  return {
    training: labeled.filter(({ ranking }) => !validation.has(ranking.prompt)),
    validation: labeled.filter(({ ranking }) => validation.has(ranking.prompt)),
    heldOut: [],
    overlap: [],
    texts: encoded.map(({ ranking }) => ranking),
  };
}

/** Refuses rankings of which one part holds nothing but ties: there would be nothing to learn, or to measure with. */
export const refuseTies = (
  rankings: ReadonlyArray<OwnRanking>,
  config: Config,
): Effect.Effect<void, InvalidInput> => {
  const parts = splitRankings(rankings, config, fold(key(config.seed), "round 1"));
  const problems = (["training", "validation"] as const)
    .filter((part) => parts[part].every(({ ranks }) => new Set(ranks).size === 1))
    .map((part) => ({
      where: "--comparisons",
      problem: `no ranking of the ${parts[part].length} held for ${part} prefers one answer to another`,
      remedy: "Give more comparisons without ties, or choose another --comparing.validationShare",
    }));
  return problems.length === 0 ? Effect.void : Effect.fail(new InvalidInput({ problems }));
};
