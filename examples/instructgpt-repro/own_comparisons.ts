import { type EncodedRanking, type Key, type Ranking, shuffled } from "@rlhf/core";
import type { Config } from "./config.ts";

/** People's rankings in the place of simulated ones, split by prompt. Of the people nothing else is known. */
export function splitRankings(
  rankings: ReadonlyArray<Ranking>,
  encoded: ReadonlyArray<EncodedRanking>,
  { comparing }: Config,
  key: Key,
) {
  const prompts = shuffled(key, [...new Set(rankings.map(({ prompt }) => prompt))]);
  const validation = new Set(prompts.slice(0, Math.ceil(prompts.length * comparing.validationShare)));
  const labeled = encoded.map((ranking, i) => ({ ...ranking, labeler: rankings[i]!.labeler ?? "people" }));
  return {
    training: labeled.filter((_, i) => !validation.has(rankings[i]!.prompt)),
    validation: labeled.filter((_, i) => validation.has(rankings[i]!.prompt)),
    heldOut: [],
    overlap: [],
    texts: rankings,
  };
}
