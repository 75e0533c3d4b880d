import { key } from "@rlhf/core/random";
import { useBackend } from "@rlhf/tensor/backend";
import { disposeModel, initModel } from "@rlhf/transformer";
import * as tf from "@tensorflow/tfjs-core";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import { bestOfN, expectedBestOfN } from "./best_of_n.ts";
import { ensemble, scoreEach, weightedSum } from "./combine_scores.ts";
import type { Episode } from "./episode.ts";
import { scoreByRules, scoreText } from "./score_text.ts";

const episodes: ReadonlyArray<Episode> = [[5, 6], [7]].map((tokens, i) => ({
  prompt: { id: `${i}`, tokens: [4] },
  response: { tokens, finished: true },
}));
const decode = (tokens: ReadonlyArray<number>) => tokens.join(" ");
const length = scoreEach(({ response }) => response.tokens.length);
const first = scoreEach(({ response }) => response.tokens[0]!);

describe("scores", () => {
  it("combine into sums and ensembles", async () => {
    const sum = weightedSum([
      { score: length, weight: 2 },
      { score: first, weight: -1 },
    ]);
    expect([...(await Effect.runPromise(sum(episodes)))]).toEqual([-1, -5]);
    const of = async (consensus: Parameters<typeof ensemble>[1]) => [
      ...(await Effect.runPromise(ensemble([length, first], consensus)(episodes))),
    ];
    expect(await of({ _tag: "Mean" })).toEqual([3.5, 4]);
    expect(await of({ _tag: "Minimum" })).toEqual([2, 1]);
    expect(await of({ _tag: "UncertaintyPenalized", coefficient: 0.5 })).toEqual([3.5 - 1.125, 4 - 4.5]);
    expect(() => ensemble([], { _tag: "Mean" })).toThrow("at least one is required");
  });

  it("come from text and from rules", async () => {
    const text = scoreText(decode, ({ prompt, response }) => prompt.length + 10 * response.length);
    expect([...(await Effect.runPromise(text(episodes)))]).toEqual([31, 11]);
    const rules = scoreByRules(decode, [
      { weight: 2, holds: ({ response }) => response.includes("5") },
      { weight: -1, holds: () => true },
    ]);
    expect([...(await Effect.runPromise(rules(episodes)))]).toEqual([1, -1]);
  });
});

describe("the best of n", () => {
  it("is the mean over all subsets", () => {
    const scores = [0.3, -1, 2, 2, 0.5, 2];
    const values = [10, 20, 30, 40, 50, 60];
    for (let n = 1; n <= scores.length; n++) {
      const subsets = Array.from({ length: 2 ** scores.length }, (_, bits) =>
        scores.flatMap((_, i) => ((bits >> i) & 1 ? [i] : [])),
      ).filter((members) => members.length === n);
      const worth = (members: ReadonlyArray<number>) => {
        const best = Math.max(...members.map((i) => scores[i]!));
        const chosen = members.filter((i) => scores[i] === best);
        return chosen.reduce((sum, i) => sum + values[i]!, 0) / chosen.length;
      };
      const expected = subsets.reduce((sum, members) => sum + worth(members), 0) / subsets.length;
      expect(expectedBestOfN({ scores, values, n })).toBeCloseTo(expected, 9);
    }
    expect(expectedBestOfN({ scores, n: 1 })).toBeCloseTo(5.8 / 6, 9);
    expect(expectedBestOfN({ scores, n: 6 })).toBe(2);
  });

  it("of many samples is computed without overflow", () => {
    const scores = Array.from({ length: 5000 }, (_, i) => i);
    expect(expectedBestOfN({ scores, n: 1000 })).toBeCloseTo((1000 * 5001) / 1001 - 1, 6);
  });

  it("is refused where there are not n samples", () => {
    expect(() => expectedBestOfN({ scores: [1, 2], n: 3 })).toThrow("from 1 to the number of samples (2)");
  });

  it("is sampled and sorted", async () => {
    await useBackend("cpu");
    const before = tf.memory().numTensors;
    const policy = initModel(
      { architecture: "gpt2", vocabSize: 12, contextLength: 24, layers: 1, width: 8, heads: 2 },
      key(1),
    );
    const prompts = [[4], [5, 6]].map((tokens, i) => ({ id: `${i}`, tokens }));
    const options = { policy, prompts, n: 5, missingEosPenalty: 0, maxNewTokens: 6, eos: 1, temperature: 1 };
    const candidates = await Effect.runPromise(bestOfN({ ...options, score: first, key: key(2) }));
    disposeModel(policy);
    expect(tf.memory().numTensors).toBe(before);
    expect(candidates.map(({ prompt }) => prompt.id)).toEqual(["0", "1"]);
    for (const { episodes, scores } of candidates) {
      expect(episodes.map(({ response }) => response.tokens[0])).toEqual(scores);
      expect([...scores].sort((a, b) => b - a)).toEqual(scores);
      expect(new Set(scores).size).toBeGreaterThan(1);
    }
  });
});
