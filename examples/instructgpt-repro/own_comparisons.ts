import { type Key, shuffled } from "@rlhf/core";
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
